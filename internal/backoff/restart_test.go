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

var errRefused = errors.New("refused")

// refusing is a loop of a device that the service refuses.
func refusing() *backoff.Loop {
	return &backoff.Loop{
		Policy:    chosen,
		Retry:     func(error) bool { return true },
		Reached:   func() bool { return true },
		Certified: func() bool { return false },
		Waiting:   func(context.Context, error, time.Duration, time.Duration) error { return nil },
	}
}

// refuse runs a loop, whose attempts take a second each, until it is cut off after so
// long. It returns when attempts began.
func refuse(t *testing.T, loop *backoff.Loop, cutOff time.Duration) (attempts []time.Duration) {
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(cutOff, cancel)
	err := loop.Run(ctx, func(ctx context.Context, number int) (bool, error) {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		attempts = append(attempts, time.Since(began))
		assert.Len(t, attempts, number)
		if !backoff.Sleep(ctx, time.Second) {
			return false, ctx.Err()
		}
		return false, errRefused
	})
	require.ErrorIs(t, err, context.Canceled)
	return attempts
}

func TestTimeRefusedIsKeptEveryThreeMinutesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var (
			last time.Time
			kept time.Duration
		)
		loop := refusing()
		loop.Keep = func(_ context.Context, refused time.Duration) {
			gone := time.Since(began)
			assert.GreaterOrEqual(t, refused, gone)
			assert.LessOrEqual(t, refused, gone+time.Minute, "of the wait that begins, a minute is written down at most")
			if !last.IsZero() {
				assert.GreaterOrEqual(t, time.Since(last), 3*time.Minute)
			}
			last, kept = time.Now(), refused
		}
		refuse(t, loop, 10*time.Hour)
		assert.Greater(t, kept, 6*time.Hour)
	})
}

func TestTimeWithoutANetworkIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := refusing()
		loop.Reached = func() bool { return false }
		loop.Keep = func(context.Context, time.Duration) { assert.Fail(t, "nobody has refused") }
		attempts := refuse(t, loop, 24*time.Hour)
		for i := range attempts[1:] {
			require.LessOrEqual(t, attempts[i+1]-attempts[i], 151*time.Second)
		}
	})
}

func TestADeviceThatRestartsAgainAndAgainTriesLessAndLess(t *testing.T) {
	for _, life := range []time.Duration{20 * time.Second, 30 * time.Second, 45 * time.Second, time.Minute} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept time.Duration
				boots, hour := int(24*time.Hour/life), int(time.Hour/life)
				attempts, writes := make([]int, boots), make([]int, boots)
				for boot := range boots {
					loop := refusing()
					loop.Refused = kept
					loop.Keep = func(_ context.Context, refused time.Duration) {
						kept = refused
						writes[boot]++
					}
					attempts[boot] = len(refuse(t, loop, life))
				}
				sum := func(counts []int) (sum int) {
					for _, n := range counts {
						sum += n
					}
					return sum
				}
				t.Logf("%d attempts in the first hour, %d in the last, with %d writes", sum(attempts[:hour]), sum(attempts[boots-hour:]), sum(writes[boots-hour:]))
				assert.Less(t, sum(attempts[:hour]), 75, "attempts in the first hour")
				assert.Less(t, sum(attempts[boots-hour:]), 45, "attempts in the last hour")
				assert.Less(t, sum(writes[boots-hour:]), 45, "writes in the last hour")
				assert.LessOrEqual(t, kept, 24*time.Hour+time.Minute, "no more than has gone by")
			})
		})
	}
}

func TestARestartLeavesTimeForAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			loop := refusing()
			loop.Refused = 24 * time.Hour
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			err := loop.Run(ctx, func(context.Context, int) (bool, error) { return true, nil })
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(began), 30*time.Second)
			cancel()
		}
	})
}

func TestTheWaitAfterARestartIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := errors.New("the claim ends first")
		for _, veto := range []error{nil, done} {
			loop := refusing()
			loop.Refused = time.Hour
			var told time.Duration
			loop.Waiting = func(_ context.Context, failed error, elapsed, wait time.Duration) error {
				assert.NoError(t, failed)
				assert.Zero(t, elapsed)
				told = wait
				return veto
			}
			began := time.Now()
			require.NoError(t, loop.Run(t.Context(), func(context.Context, int) (bool, error) { return true, nil }))
			assert.NotZero(t, told)
			if veto == nil {
				assert.Equal(t, told, time.Since(began))
			} else {
				assert.Zero(t, time.Since(began))
			}
		}
	})
}
