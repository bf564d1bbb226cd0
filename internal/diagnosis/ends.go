package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// TimeoutError is the end of a step's own time.
type TimeoutError struct {
	After time.Duration
	Hints Hints
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no answer within %v; %s", e.After, e.Hints.Silent())
}

// Is makes it [os.ErrDeadlineExceeded]: [context.DeadlineExceeded] is the end of the
// caller's context.
func (*TimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Timeout and Temporary make it a [net.Error].
func (*TimeoutError) Timeout() bool   { return true }
func (*TimeoutError) Temporary() bool { return true }

// foreignContext is the end of a context that is not the caller's: one of a
// dialer's own. It is a timeout, and hides the context errors, which mean that
// the caller's context ended.
type foreignContext struct{ err error }

func (e *foreignContext) Error() string      { return e.err.Error() }
func (e *foreignContext) As(target any) bool { return errors.As(e.err, target) }
func (e *foreignContext) Is(target error) bool {
	switch target {
	case os.ErrDeadlineExceeded:
		return true
	case context.Canceled, context.DeadlineExceeded:
		return false
	default:
		return errors.Is(e.err, target)
	}
}

// EndOf returns why something was cut short by a context, or nil if it was not. The
// caller's context errors stand for the caller's context alone.
func EndOf(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cause) {
		return nil
	}
	var (
		timeout *TimeoutError
		expired *ExpiredError
	)
	switch {
	case cause == nil:
		return &foreignContext{err}
	case errors.As(cause, &timeout), errors.As(cause, &expired):
		return cause
	case !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case !errors.Is(err, cause):
		return fmt.Errorf("%w: %w", err, cause)
	default:
		return err
	}
}
