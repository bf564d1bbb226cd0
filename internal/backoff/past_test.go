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

// once is a run of a device with a past that is refused once, after a second.
func once(t *testing.T, past *backoff.Past, change ...func(*backoff.Loop)) {
	t.Helper()
	loop := refusing()
	loop.MaxAttempts, loop.Past = 1, past
	for _, c := range change {
		c(loop)
	}
	err := loop.Run(t.Context(), func(ctx context.Context, _ int) (bool, error) {
		backoff.Sleep(ctx, time.Second)
		return false, errRefused
	})
	require.Equal(t, errRefused, err)
}

func silent(context.Context, error, time.Duration, time.Duration) error { return nil }

func TestARunOwesItsLastWaitToTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := new(backoff.Past)
		require.NoError(t, past.Serve(t.Context(), silent))
		once(t, past)
		wait, failed := past.Left()
		assert.Equal(t, errRefused, failed)
		assert.InDelta(t, 4*time.Second, wait, float64(2*time.Second))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := past.Serve(ctx, silent)
		var interrupted *backoff.Interrupted
		require.ErrorAs(t, err, &interrupted)
		assert.Equal(t, backoff.Interrupted{Reason: context.DeadlineExceeded, Last: errRefused}, *interrupted)
		left, _ := past.Left()
		assert.Equal(t, wait-time.Second, left, "a run serves what it can")

		ends := errors.New("the claim ends first")
		err = past.Serve(t.Context(), func(_ context.Context, failed error, elapsed, wait time.Duration) error {
			assert.Equal(t, errRefused, failed)
			assert.Zero(t, elapsed)
			assert.Equal(t, left, wait)
			return ends
		})
		assert.ErrorIs(t, err, ends)

		began := time.Now()
		require.NoError(t, past.Serve(t.Context(), silent))
		assert.Equal(t, left, time.Since(began))
		once(t, past)
		wait, _ = past.Left()
		assert.GreaterOrEqual(t, wait, 10*time.Second, "the second failure, whichever run it is in")
	})
}

func TestARunThatSucceedsOwesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := new(backoff.Past)
		once(t, past)
		loop := refusing()
		loop.Past = past
		require.NoError(t, loop.Run(t.Context(), func(context.Context, int) (bool, error) { return true, nil }))
		wait, failed := past.Left()
		assert.LessOrEqual(t, wait, time.Duration(0))
		assert.NoError(t, failed)
		once(t, past)
		wait, _ = past.Left()
		assert.LessOrEqual(t, wait, 6*time.Second, "the first failure")
	})
}

// A program that does not try for a day was not refused for a day.
func TestTimeInWhichNothingWasTriedIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := new(backoff.Past)
		for range 10 {
			once(t, past)
			backoff.Sleep(t.Context(), 24*time.Hour)
		}
		once(t, past)
		wait, _ := past.Left()
		assert.LessOrEqual(t, wait, 90*time.Second)
	})
}

func TestAFailureToReachTheServiceOwesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := new(backoff.Past)
		once(t, past, func(l *backoff.Loop) { l.Reached = func() bool { return false } })
		wait, _ := past.Left()
		assert.LessOrEqual(t, wait, time.Duration(0))
	})
}

func TestTimeRefusedIsKeptByARunOfOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := time.Hour
		once(t, nil, func(l *backoff.Loop) {
			l.Refused = kept
			l.Keep = func(_ context.Context, refused time.Duration) { kept = refused }
		})
		assert.Greater(t, kept, time.Hour)
	})
}

func TestAnAttemptAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := new(backoff.Past)
		began := time.Now()
		once(t, past, func(l *backoff.Loop) { l.Refused, l.AtOnce = time.Hour, true })
		assert.Equal(t, time.Second, time.Since(began))
		wait, _ := past.Left()
		assert.GreaterOrEqual(t, wait, 6*time.Minute, "the next one is not")
	})
}

func TestAnotherClaimIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := new(backoff.Past)
		past.With("a claim")
		once(t, past)
		past.With("a claim")
		wait, _ := past.Left()
		assert.Positive(t, wait)
		past.With("another claim")
		wait, _ = past.Left()
		assert.LessOrEqual(t, wait, time.Duration(0))
		for range 3 {
			once(t, past)
		}
		wait, _ = past.Left()
		assert.Greater(t, wait, 6*time.Second, "what AWS IoT has refused before counts")
	})
}
