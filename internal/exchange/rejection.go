package exchange

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Rejection is an answer on .../rejected: AWS's words as they came. Any field
// may be missing.
type Rejection struct {
	StatusCode int    `json:"statusCode"`
	Code       string `json:"errorCode"`
	Message    string `json:"errorMessage"`
}

func (r *Rejection) Error() string {
	return fmt.Sprintf("rejected with status %d, code %.128q, message %.512q", r.StatusCode, r.Code, r.Message)
}

// rejection decodes what it can. Words that are not in the documented form are
// kept as the message: they may be all that tells what is wrong.
func (c *Client) rejection(payload []byte) error {
	r := new(Rejection)
	err := c.Format.Unmarshal(payload, r)
	if *r == (Rejection{}) {
		r.Message = string(payload)
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", r, ErrBadResponse)
	}
	return r
}

// Throttled reports whether a quota was used up. AWS's model gives throttling the
// status 400, so the code decides before the status (AWS IoT API reference,
// RegisterThing).
func (r *Rejection) Throttled() bool {
	return r.StatusCode == http.StatusTooManyRequests ||
		r.is("Throttled", "Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException")
}

// Conflicting reports whether another change of the same resource was under way,
// which passes (AWS IoT API reference, RegisterThing).
func (r *Rejection) Conflicting() bool {
	return r.is("ConflictingResourceUpdate", "ConflictingResourceUpdateException")
}

// Internal reports whether AWS failed inside.
func (r *Rejection) Internal() bool {
	return r.StatusCode >= http.StatusInternalServerError ||
		r.is("InternalError", "InternalFailure", "InternalFailureException", "InternalServerException",
			"ServiceUnavailable", "ServiceUnavailableException")
}

// TokenRefused reports whether the ownership token is not good, or not any more.
func (r *Rejection) TokenRefused() bool { return r.is("InvalidCertificateOwnershipToken") }

// is compares codes as AWS spells them, which it does in more than one way.
func (r *Rejection) is(codes ...string) bool {
	plain := strings.ReplaceAll(r.Code, "_", "")
	return slices.ContainsFunc(codes, func(code string) bool { return strings.EqualFold(plain, code) })
}
