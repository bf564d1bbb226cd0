package controlplane

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// apiError is an error as an API answers it. Its type decides the status.
type apiError struct{ Type, Message string }

func (e *apiError) Error() string { return e.Type + ": " + e.Message }

func fail(kind, format string, arguments ...any) error {
	return &apiError{kind, fmt.Sprintf(format, arguments...)}
}

// statuses are the statuses of errors, as the service models have them. All others are 400.
var statuses = map[string]int{
	"AccessDeniedException":               403,
	"MissingAuthenticationTokenException": 403,
	"CertificateConflictException":        409,
	"CertificateStateException":           406,
	"DeleteConflict":                      409,
	"DeleteConflictException":             409,
	"EntityAlreadyExists":                 409,
	"InternalFailureException":            500,
	"LimitExceeded":                       409,
	"NoSuchEntity":                        404,
	"PreconditionFailedException":         412,
	"RequestTooLargeException":            413,
	"ResourceAlreadyExistsException":      409,
	"ResourceConflictException":           409,
	"ResourceNotFoundException":           404,
	"ServiceUnavailableException":         503,
	"UnknownOperationException":           404,
	"VersionsLimitExceededException":      409,
}

func (e *apiError) status() int {
	if status := statuses[e.Type]; status != 0 {
		return status
	}
	return http.StatusBadRequest
}

// asAPIError finds the error of an API in err.
func asAPIError(err error) *apiError {
	var own *apiError
	var refused *iotregistry.Refusal
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		return &apiError{refused.Type, refused.Message}
	default:
		return &apiError{"InternalFailureException", err.Error()}
	}
}
