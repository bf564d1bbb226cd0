package operator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// code returns AWS's code of an error, such as AccessDenied, or "".
func code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	return ""
}

func isCode(err error, codes ...string) bool {
	return err != nil && slices.Contains(codes, code(err))
}

// isAbsent reports whether AWS says that there is no such thing.
func isAbsent(err error) bool {
	return isCode(err, "ResourceNotFoundException", "NoSuchEntity", "NoSuchEntityException")
}

// exists reports whether AWS says that a name is taken.
func exists(err error) bool {
	return isCode(err, "ResourceAlreadyExistsException", "ResourceConflictException", "EntityAlreadyExists", "EntityAlreadyExistsException")
}

// conflicts are the codes for what cannot be deleted yet.
var conflicts = []string{"DeleteConflictException", "DeleteConflict"}

// explained is an error of the SDK in one line that says what to do.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explain shortens what the SDK says, and adds what to do about it. Other errors stay as
// they are.
func explain(err error) error {
	var done *explained
	var operation *smithy.OperationError
	if err == nil || errors.As(err, &done) || !errors.As(err, &operation) {
		return err
	}
	name := strings.ToLower(operation.Service()) + ":" + operation.Operation()
	short := name + ": " + oneLine(words(operation.Err)+advice(operation.Err, name))
	return &explained{strings.Replace(err.Error(), operation.Error(), short, 1), err}
}

// words are AWS's own, if it has answered.
func words(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return fmt.Sprintf("%s (%s)", strings.TrimSuffix(refused.ErrorMessage(), "."), refused.ErrorCode())
	}
	return err.Error()
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// advice is what to do about an error, with a colon before it.
func advice(err error, operation string) string {
	var send *smithyhttp.RequestSendError
	switch c := code(err); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case slices.Contains([]string{"AccessDenied", "AccessDeniedException", "UnauthorizedException", "NotAuthorizedException"}, c):
		return ": your credentials lack the right to " + operation + ": ask whoever manages the account for it"
	case slices.Contains([]string{"ExpiredToken", "ExpiredTokenException", "RequestExpired"}, c):
		return ": your session has ended: log in again"
	case slices.Contains([]string{"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"}, c):
		return ": AWS does not know your credentials: check AWS_PROFILE, or log in again"
	case isThrottling(err):
		return ": AWS asks for fewer requests: wait a minute and run it again"
	case slices.Contains([]string{"LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"}, c):
		return ": a quota of the account is used up: delete what is not needed, or ask AWS for more"
	case errors.As(err, &send):
		return ": AWS was not reached: check the network and the region"
	}
	return ""
}

func isThrottling(err error) bool {
	_, throttled := retry.DefaultThrottleErrorCodes[code(err)]
	return throttled
}

func errNoCredentials(err error) error {
	const text = "no AWS credentials were found: log in with the AWS CLI, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	if err == nil {
		return errors.New(text)
	}
	// The last place to look is the machine itself, if it is one of AWS's. That it is not one
	// says nothing.
	var last *smithy.OperationError
	if errors.As(err, &last) && last.Service() == "ec2imds" {
		return &explained{text, err}
	}
	return &explained{text + " (" + oneLine(strings.TrimPrefix(err.Error(), "failed to refresh cached credentials, ")) + ")", err}
}

// withoutAddress takes the address out of an error of package net/http.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
