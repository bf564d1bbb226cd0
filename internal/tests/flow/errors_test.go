package flow_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
)

func TestRetryable(t *testing.T) {
	in := func(op fleetprov.Op, err error) error { return &fleetprov.Error{Op: op, Attempts: 1, Err: err} }
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                        {nil, false},
		"the caller's deadline":          {context.DeadlineExceeded, false},
		"the caller's deadline, and 429": {fmt.Errorf("%w; %w", context.DeadlineExceeded, &fleetprov.RejectedError{StatusCode: 429}), false},
		"the caller gave up":             {context.Canceled, false},
		"400":                            {&fleetprov.RejectedError{StatusCode: 400}, false},
		"403":                            {&fleetprov.RejectedError{StatusCode: 403}, false},
		"404":                            {&fleetprov.RejectedError{StatusCode: 404}, false},
		"429":                            {&fleetprov.RejectedError{StatusCode: 429}, true},
		"500":                            {&fleetprov.RejectedError{StatusCode: 500}, true},
		"503":                            {in(fleetprov.OpRegisterThing, &fleetprov.RejectedError{StatusCode: 503}), true},
		"403 with a throttling code":     {&fleetprov.RejectedError{StatusCode: 403, Code: "Throttling"}, true},
		"400 with a throttling code":     {&fleetprov.RejectedError{StatusCode: 400, Code: "ThrottlingException"}, true},
		"409":                            {&fleetprov.RejectedError{StatusCode: 409, Code: "ResourceAlreadyExistsException"}, false},
		"409, a passing conflict":        {&fleetprov.RejectedError{StatusCode: 409, Code: "ConflictingResourceUpdateException"}, true},
		"409, the same in capitals":      {&fleetprov.RejectedError{StatusCode: 409, Code: "CONFLICTING_RESOURCE_UPDATE"}, true},
		"no status, a throttling code":   {&fleetprov.RejectedError{Code: "TOO_MANY_REQUESTS"}, true},
		"no status, an inner failure":    {&fleetprov.RejectedError{Code: "internalFailure"}, true},
		"no status, another code":        {&fleetprov.RejectedError{Code: "InvalidParameter"}, false},
		"no status, no code":             {&fleetprov.RejectedError{}, false},
		"clock":                          {fleetprov.ErrClock, true},
		"clock, by a certificate":        {fmt.Errorf("%w: %w", fleetprov.ErrClock, x509.CertificateInvalidError{}), true},
		"expired":                        {x509.CertificateInvalidError{Reason: x509.Expired}, false},
		"not authorized":                 {fleetprov.ErrNotAuthorized, false},
		"connection lost":                {fleetprov.ErrConnectionLost, true},
		"bad response":                   {fleetprov.ErrBadResponse, false},
		"incorrect password":             {fleetprov.ErrIncorrectPassword, false},
		"a step's timeout":               {os.ErrDeadlineExceeded, true},
		"connection refused":             {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		"no such host":                   {&net.DNSError{IsNotFound: true}, true},
		"a dialer's own error":           {in(fleetprov.OpConnect, errors.New("the modem is off")), true},
		"an unknown error elsewhere":     {in(fleetprov.OpPrepare, errors.New("what is this")), false},
		"no such file":                   {&fs.PathError{Op: "open", Err: syscall.ENOENT}, false},
		"the disk is full":               {in(fleetprov.OpStore, &fs.PathError{Op: "write", Err: syscall.ENOSPC}), false},
		"the store times out":            {in(fleetprov.OpStore, os.ErrDeadlineExceeded), false},
		"the store is on a lost network": {in(fleetprov.OpStore, &net.OpError{Op: "read", Err: syscall.ECONNRESET}), false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, fleetprov.Retryable(test.err))
			if test.err != nil {
				assert.Equal(t, test.want, fleetprov.Retryable(fmt.Errorf("firmware: %w", test.err)), "wrapped")
			}
		})
	}
}

func TestErrorTextIsOneLine(t *testing.T) {
	err := &fleetprov.Error{Op: fleetprov.OpRegisterThing, CertificateID: "abc", Attempts: 3,
		Err: &fleetprov.RejectedError{StatusCode: 400, Code: "Invalid\nCode", Message: "100%d of it\r\nfails"}}
	assert.Equal(t, `fleetprov: RegisterThing: AWS IoT rejected the request with status 400, code "Invalid\nCode": "100%d of it\r\nfails" (after 3 attempts) (certificate abc)`, err.Error())
	assert.NotContains(t, (&fleetprov.Error{Op: fleetprov.OpConnect, Attempts: 1, Err: fleetprov.ErrConnectionLost}).Error(), "attempt")
}

func TestAWSWordsAreBoundedInTheTextAndWholeInTheField(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	err := &fleetprov.RejectedError{StatusCode: 500, Code: long, Message: long}
	assert.Less(t, len(err.Error()), 1200)
	assert.Equal(t, long, err.Message)
	assert.NotPanics(t, func() { _ = (&fleetprov.RejectedError{Message: strings.Repeat("€", 400)}).Error() })
}

func TestErrorUnwraps(t *testing.T) {
	err := error(&fleetprov.Error{Op: fleetprov.OpStore, Err: fmt.Errorf("writing: %w", &fs.PathError{Op: "write", Path: "/data", Err: syscall.EROFS})})
	assert.ErrorIs(t, err, syscall.EROFS)
	var path *fs.PathError
	require.ErrorAs(t, err, &path)
	assert.Equal(t, "/data", path.Path)
}
