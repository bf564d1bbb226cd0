package fleetprovtest

import "github.com/fleetprov/fleetprov/internal/iotservice"

// outcome is what has become of a provisioning operation. Without an answer and a
// rejection, a fault has taken its place.
type outcome struct {
	answer    any        // nil if it was rejected
	rejection *Rejection // nil if it was accepted
	cause     error      // of the rejection, which the client is not told
	log       []any      // attributes for the log: what was created
}

// rejected is the payload on the rejected topic of every operation.
type rejected struct {
	StatusCode   int    `json:"statusCode,omitempty"`
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
}

// payload returns what the client is answered, not encoded yet.
func (o outcome) payload() any {
	if r := o.rejection; r != nil {
		return rejected{r.StatusCode, r.Code, r.Message}
	}
	return o.answer
}

func rejectedBy(r *iotservice.Rejection) outcome {
	return outcome{rejection: &Rejection{StatusCode: r.StatusCode, Code: r.Code, Message: r.Message}, cause: r.Cause}
}

func badRequest(code, message string) outcome {
	return outcome{rejection: &Rejection{StatusCode: 400, Code: code, Message: message}}
}

var badPayload = badRequest("InvalidRequest", "The request payload could not be parsed.")
