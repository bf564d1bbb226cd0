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
	Reached     func() bool      // whether the last attempt reached the service
	Certified   func() bool      // whether there is a certificate that is yet to be registered

	// Waiting is called before each wait. If it returns an error, the loop ends; but the
	// wait before the first attempt, for which failed is nil, is left out then.
	Waiting func(ctx context.Context, failed error, elapsed, wait time.Duration) error

	// Refused is what Keep was last given by a run that was cut off, or zero.
	Refused time.Duration

	// AtOnce leaves out the wait before the first attempt.
	AtOnce bool

	// Past is what the run goes on from, and adds to. The caller waits for what is left
	// in it before Run. Nil: nothing is remembered.
	Past *Past

	// Keep writes down, for the next run, how long the service has refused this
	// device. It is called soon after the first failure, and after that every three
	// minutes at most. Nil: nothing is written.
	Keep func(ctx context.Context, refused time.Duration)
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
	tally, failed, resumed := l.Past.resume() // failed is when the last attempt did
	if !resumed {
		tally = Resumed(l.Refused)
	}
	kept := record{refused: l.Refused}
	if !resumed && !l.AtOnce {
		l.restart(ctx, l.Policy.First(tally, rand.Float64()))
	}
	began := time.Now()
	var last error
	for number := 1; ; number++ {
		done, err := attempt(ctx, number)
		switch {
		case done:
			l.Past.forget()
			return err
		case ctx.Err() != nil && last != nil:
			return &Interrupted{Reason: err, Last: last}
		case ctx.Err() != nil, !l.Retry(err):
			return err
		}
		tally.Failed(l.Reached(), time.Since(failed))
		failed = time.Now()
		wait := l.Policy.Wait(tally, l.Certified(), rand.Float64())
		if refused, due := kept.next(tally, wait); due && l.Keep != nil {
			l.Keep(ctx, refused)
		}
		l.Past.note(tally, wait, err)
		if number == l.MaxAttempts {
			return err
		}
		if reason := l.wait(ctx, err, time.Since(began), wait); reason != nil {
			return &Interrupted{Reason: reason, Last: err}
		}
		last = err
	}
}

// restart waits before the first attempt, but leaves it at least half of the time that
// ctx has: a program that bounds each of its runs still makes attempts.
func (l *Loop) restart(ctx context.Context, wait time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/2)
	}
	if wait > 0 && l.Waiting(ctx, nil, 0, wait) == nil {
		Sleep(ctx, wait)
	}
}

// record is what [Loop.Keep] was last given.
type record struct {
	refused time.Duration
	written time.Time // zero: by a run before this one
}

// next returns what to write down before a wait, and whether to write. A run writes as
// soon as it has five seconds to add, since it may be cut off at any moment; and after
// that when it has another minute, and three minutes after the last time. Up to a minute
// of the wait is in it. So the record of a device that restarts every minute grows, too.
func (r *record) next(t Tally, wait time.Duration) (refused time.Duration, due bool) {
	refused = t.Refused() + min(wait, time.Minute)
	least := time.Minute
	if r.written.IsZero() {
		least = 5 * time.Second
	}
	if !t.reached || refused < r.refused+least || !r.written.IsZero() && time.Since(r.written) < 3*time.Minute {
		return 0, false
	}
	r.refused, r.written = refused, time.Now()
	return refused, true
}

func (l *Loop) wait(ctx context.Context, failed error, elapsed, wait time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return context.DeadlineExceeded
	}
	if err := l.Waiting(ctx, failed, elapsed, wait); err != nil {
		return err
	}
	return sleep(ctx, wait)
}

// sleep is [Sleep] with the error of ctx, and its cause.
func sleep(ctx context.Context, wait time.Duration) error {
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
