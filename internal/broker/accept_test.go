package broker_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/broker"
)

// failing is a listener whose Accept fails once with each of its errors, and then as a
// closed one does.
type failing struct {
	errs  []error
	calls []time.Time
}

func (f *failing) Accept() (net.Conn, error) {
	f.calls = append(f.calls, time.Now())
	if len(f.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func (f *failing) Close() error   { return nil }
func (f *failing) Addr() net.Addr { return nil }

func TestAcceptThatFails(t *testing.T) {
	refused := func(errno syscall.Errno) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
	}
	const pause = 50 * time.Millisecond
	for _, test := range []struct {
		name   string
		errs   []error
		pauses []time.Duration // between one call and the next
	}{
		{"goes on when the process has too many files open", []error{refused(syscall.EMFILE)}, []time.Duration{pause}},
		{"goes on when the system has too many files open", []error{refused(syscall.ENFILE)}, []time.Duration{pause}},
		{"goes on when the client is already gone", []error{refused(syscall.ECONNABORTED)}, []time.Duration{pause}},
		{"goes on after several errors in a row", []error{refused(syscall.EMFILE), refused(syscall.EMFILE), refused(syscall.ENFILE)},
			[]time.Duration{pause, pause, pause}},
		{"ends when the listener is closed", []error{net.ErrClosed, refused(syscall.EMFILE)}, nil},
		{"ends with another error", []error{refused(syscall.EINVAL), refused(syscall.EMFILE)}, nil},
		{"ends with an error that is not a system error", []error{errors.New("out of order"), refused(syscall.EMFILE)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := &failing{errs: test.errs}
				server := &broker.Server{Handler: acceptAll{}}
				defer server.Close()
				server.Serve(listener)

				var pauses []time.Duration
				for i, call := range listener.calls[1:] {
					pauses = append(pauses, call.Sub(listener.calls[i]))
				}
				assert.Equal(t, test.pauses, pauses)
			})
		})
	}
}
