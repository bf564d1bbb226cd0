package backoff

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Loop makes attempts until one succeeds or no other could.
type Loop struct {
	Policy      Policy
	MaxAttempts int              // 0: no limit
	Retry       func(error) bool // whether a failure may pass

	// Waiting is called before each wait. If it returns an error, the loop ends.
	Waiting func(ctx context.Context, failed error, elapsed, wait time.Duration) error
}

// Interrupted is the end of a loop that would have made another attempt.
type Interrupted struct {
	Reason error // what ended it: the failure of an attempt that ctx cut short, or the reason not to wait
	Last   error // the failure of the last attempt that was not cut short
}

func (i *Interrupted) Error() string { return i.Reason.Error() }

// Unwrap returns what ended the loop.
func (i *Interrupted) Unwrap() error { return i.Reason }

// Run calls attempt with the numbers 1, 2 and so on until it is done or its failure is
// final, and returns the last attempt's error. When ctx or Waiting ends the loop after
// a failure, the error is an [*Interrupted]. If ctx has a deadline before the next
// attempt, Run returns at once.
func (l *Loop) Run(ctx context.Context, attempt func(ctx context.Context, number int) (done bool, err error)) error {
	began := time.Now()
	var last error
	for number := 1; ; number++ {
		done, err := attempt(ctx, number)
		switch {
		case done:
			return err
		case ctx.Err() != nil && last != nil:
			return &Interrupted{Reason: err, Last: last}
		case ctx.Err() != nil, number == l.MaxAttempts, !l.Retry(err):
			return err
		}
		elapsed := time.Since(began)
		if reason := l.wait(ctx, err, elapsed, l.Policy.Wait(number, elapsed, rand.Float64())); reason != nil {
			return &Interrupted{Reason: reason, Last: err}
		}
		last = err
	}
}

func (l *Loop) wait(ctx context.Context, failed error, elapsed, wait time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return context.DeadlineExceeded
	}
	if err := l.Waiting(ctx, failed, elapsed, wait); err != nil {
		return err
	}
	if !Sleep(ctx, wait) {
		if cause := context.Cause(ctx); !errors.Is(ctx.Err(), cause) {
			return fmt.Errorf("%w: %w", ctx.Err(), cause)
		}
		return ctx.Err()
	}
	return nil
}

// Sleep waits for d and returns true, or returns false as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// SleepWithin is like [Sleep], but returns false at once if ctx has a deadline before d
// is over.
func SleepWithin(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	return Sleep(ctx, d)
}
