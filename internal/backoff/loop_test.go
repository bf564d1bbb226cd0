package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/backoff"
)

var (
	errPasses = errors.New("a lost packet")
	errFinal  = errors.New("forbidden")
)

// attempts fails as often as there are errors, each attempt after a second, and is done
// then.
type attempts struct {
	errs    []error
	numbers []int
}

func (a *attempts) make(ctx context.Context, number int) (bool, error) {
	a.numbers = append(a.numbers, number)
	if !backoff.Sleep(ctx, time.Second) {
		return false, ctx.Err()
	}
	if number > len(a.errs) {
		return true, nil
	}
	return false, a.errs[number-1]
}

// waits records what a loop tells.
type waits struct {
	failed        []error
	elapsed, wait []time.Duration
	err           error
}

func (w *waits) tell(_ context.Context, failed error, elapsed, wait time.Duration) error {
	w.failed, w.elapsed, w.wait = append(w.failed, failed), append(w.elapsed, elapsed), append(w.wait, wait)
	return w.err
}

// everyTenSeconds is a loop whose waits are told to w.
func everyTenSeconds(w *waits) *backoff.Loop {
	return &backoff.Loop{
		Policy:    backoff.Policy{Min: 10 * time.Second, Max: 10 * time.Second},
		Retry:     func(err error) bool { return errors.Is(err, errPasses) },
		Reached:   func() bool { return true },
		Certified: func() bool { return false },
		Waiting:   w.tell,
	}
}

func TestLoopRunsUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waits
		made := attempts{errs: []error{errPasses, errPasses}}
		began := time.Now()
		require.NoError(t, everyTenSeconds(&w).Run(t.Context(), made.make))
		assert.Equal(t, []int{1, 2, 3}, made.numbers)
		assert.Equal(t, 23*time.Second, time.Since(began))
		assert.Equal(t, []error{errPasses, errPasses}, w.failed)
		assert.Equal(t, []time.Duration{time.Second, 12 * time.Second}, w.elapsed, "since the first attempt began")
		assert.Equal(t, []time.Duration{10 * time.Second, 10 * time.Second}, w.wait)
	})
}

func TestLoopWaitsAsItsPolicySays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waits
		loop := everyTenSeconds(&w)
		loop.Policy = backoff.Policy{Min: time.Second, Max: time.Hour}
		made := attempts{errs: []error{errPasses, errPasses, errPasses}}
		began := time.Now()
		require.NoError(t, loop.Run(t.Context(), made.make))
		total := 4 * time.Second
		for i, wait := range w.wait {
			shortest := time.Second
			if i > 0 {
				shortest = 5 * time.Second
			}
			assert.GreaterOrEqual(t, wait, shortest)
			assert.LessOrEqual(t, wait, 3*shortest)
			total += wait
		}
		assert.Equal(t, total, time.Since(began), "what it tells is what it waits")
	})
}

func TestLoopEndsWithAFailureThatIsFinal(t *testing.T) {
	for name, test := range map[string]struct {
		errs  []error
		max   int
		want  error
		tries int
	}{
		"at once":                          {[]error{errFinal}, 0, errFinal, 1},
		"after one that could pass":        {[]error{errPasses, errFinal}, 0, errFinal, 2},
		"because it may try once":          {[]error{errPasses}, 1, errPasses, 1},
		"because it may try three times":   {[]error{errPasses, errPasses, errPasses}, 3, errPasses, 3},
		"though it may try more than that": {[]error{errPasses, errFinal}, 3, errFinal, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w waits
				loop := everyTenSeconds(&w)
				loop.MaxAttempts = test.max
				made := attempts{errs: test.errs}
				began := time.Now()
				assert.Equal(t, test.want, loop.Run(t.Context(), made.make), "as the attempt gave it")
				assert.Len(t, made.numbers, test.tries)
				assert.Len(t, w.wait, test.tries-1, "no wait after the last")
				assert.Equal(t, time.Duration(test.tries)*time.Second+time.Duration(test.tries-1)*10*time.Second, time.Since(began))
			})
		})
	}
}

// What AWS has accepted is not tried again, whatever went wrong with the answer.
func TestLoopThatIsDoneWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waits
		err := everyTenSeconds(&w).Run(t.Context(), func(context.Context, int) (bool, error) { return true, errPasses })
		assert.Equal(t, errPasses, err)
		assert.Empty(t, w.wait)
	})
}

// The context ends: in the first attempt, in a later one, in a wait, or before the next
// wait would be over.
func TestLoopEndsWithItsContext(t *testing.T) {
	reason := errors.New("the operator pulled the plug")
	cancelled := func(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		time.AfterFunc(after, func() { cancel(reason) })
		return ctx, func() { cancel(nil) }
	}
	for name, test := range map[string]struct {
		begin       func(context.Context, time.Duration) (context.Context, context.CancelFunc)
		after       time.Duration
		is          []error
		interrupted bool
		lasts       time.Duration
		told        int
	}{
		"cancelled in the first attempt":        {cancelled, 500 * time.Millisecond, []error{context.Canceled}, false, 500 * time.Millisecond, 0},
		"cancelled in a later attempt":          {cancelled, 11500 * time.Millisecond, []error{context.Canceled}, true, 11500 * time.Millisecond, 1},
		"cancelled in a wait":                   {cancelled, 5 * time.Second, []error{context.Canceled, reason}, true, 5 * time.Second, 1},
		"a deadline in the first attempt":       {context.WithTimeout, 500 * time.Millisecond, []error{context.DeadlineExceeded}, false, 500 * time.Millisecond, 0},
		"a deadline in a later attempt":         {context.WithTimeout, 11500 * time.Millisecond, []error{context.DeadlineExceeded}, true, 11500 * time.Millisecond, 1},
		"a deadline before the wait is over":    {context.WithTimeout, 5 * time.Second, []error{context.DeadlineExceeded}, true, time.Second, 0},
		"a deadline in the moment that it ends": {context.WithTimeout, 11 * time.Second, []error{context.DeadlineExceeded}, true, time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := test.begin(t.Context(), test.after)
				defer cancel()
				var w waits
				made := attempts{errs: []error{errPasses, errPasses, errPasses}}
				began := time.Now()
				err := everyTenSeconds(&w).Run(ctx, made.make)
				assert.Equal(t, test.lasts, time.Since(began))
				assert.Len(t, w.wait, test.told, "a wait that does not begin is not told")
				for _, is := range test.is {
					assert.ErrorIs(t, err, is)
				}
				var interrupted *backoff.Interrupted
				require.Equal(t, test.interrupted, errors.As(err, &interrupted))
				if test.interrupted {
					assert.Equal(t, errPasses, interrupted.Last)
					assert.Equal(t, interrupted.Reason.Error(), err.Error())
				}
			})
		})
	}
}

// The claim may end before the next attempt could begin.
func TestLoopEndsWhenWaitingIsOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := waits{err: errors.New("the claim ends first")}
		made := attempts{errs: []error{errPasses}}
		began := time.Now()
		err := everyTenSeconds(&w).Run(t.Context(), made.make)
		var interrupted *backoff.Interrupted
		require.ErrorAs(t, err, &interrupted)
		assert.Equal(t, backoff.Interrupted{Reason: w.err, Last: errPasses}, *interrupted)
		assert.ErrorIs(t, err, w.err)
		assert.Equal(t, time.Second, time.Since(began))
		assert.Len(t, made.numbers, 1)
	})
}

func TestSleep(t *testing.T) {
	for name, test := range map[string]struct {
		sleep func(context.Context, time.Duration) bool
		d     time.Duration
		whole bool
		lasts time.Duration
	}{
		"to the end":              {backoff.Sleep, 2 * time.Second, true, 2 * time.Second},
		"not at all":              {backoff.Sleep, 0, true, 0},
		"less than that":          {backoff.Sleep, -time.Second, true, 0},
		"beyond the context":      {backoff.Sleep, 4 * time.Second, false, 3 * time.Second},
		"within it":               {backoff.SleepWithin, 2 * time.Second, true, 2 * time.Second},
		"not within it":           {backoff.SleepWithin, 4 * time.Second, false, 0},
		"within it to the moment": {backoff.SleepWithin, 3 * time.Second, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				began := time.Now()
				assert.Equal(t, test.whole, test.sleep(ctx, test.d))
				assert.Equal(t, test.lasts, time.Since(began))
			})
		})
	}
}
