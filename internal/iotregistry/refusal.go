package iotregistry

import "fmt"

// Refusal is an error of AWS IoT's API for operators: the type of the error as AWS spells
// it, and a message.
type Refusal struct{ Type, Message string }

func (r *Refusal) Error() string { return r.Type + ": " + r.Message }

func refuse(kind, format string, arguments ...any) error {
	return &Refusal{kind, fmt.Sprintf(format, arguments...)}
}

// The types of refusals.
const (
	resourceNotFound      = "ResourceNotFoundException"
	resourceAlreadyExists = "ResourceAlreadyExistsException"
	deleteConflict        = "DeleteConflictException"
	certificateState      = "CertificateStateException"
	malformedPolicy       = "MalformedPolicyException"
	versionsLimitExceeded = "VersionsLimitExceededException"
	invalidRequest        = "InvalidRequestException"
)
