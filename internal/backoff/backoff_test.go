package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/backoff"
)

var chosen = backoff.Policy{Min: backoff.DefaultMin, Max: backoff.DefaultMax}

// almostOne is the largest number that math/rand draws from [0, 1).
const almostOne = 1 - 1.0/(1<<53)

func TestWaitIsDrawnBetween(t *testing.T) {
	tiny := backoff.Policy{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	narrow := backoff.Policy{Min: time.Minute, Max: 2 * time.Minute}
	for _, test := range []struct {
		what              string
		policy            backoff.Policy
		failures          int
		elapsed           time.Duration
		shortest, longest time.Duration
	}{
		{"a few seconds after the first failure", chosen, 1, time.Second, 2 * time.Second, 6 * time.Second},
		{"a few seconds after the first failure, a timeout", chosen, 1, time.Minute, 2 * time.Second, 6 * time.Second},
		{"ten seconds and more after the second", chosen, 2, 5 * time.Second, 10 * time.Second, 30 * time.Second},
		{"a part of the time since the run began", chosen, 9, 5 * time.Minute, 30 * time.Second, 90 * time.Second},
		{"no more than the maximum after an hour", chosen, 40, time.Hour, time.Minute, 3 * time.Minute},
		{"no more than the maximum after a year", chosen, 1e6, 365 * 24 * time.Hour, time.Minute, 3 * time.Minute},
		{"as before when a clock went backwards", chosen, 2, -time.Hour, 10 * time.Second, 30 * time.Second},
		{"tiny bounds, first", tiny, 1, time.Second, 10 * time.Millisecond, 30 * time.Millisecond},
		{"tiny bounds, later", tiny, 2, time.Second, 100 * time.Millisecond / 3, 100 * time.Millisecond},
		{"bounds close together, first", narrow, 1, time.Second, time.Minute, 2 * time.Minute},
		{"bounds close together, later", narrow, 9, time.Hour, time.Minute, 2 * time.Minute},
		{"one bound", backoff.Policy{Min: time.Second, Max: time.Second}, 9, time.Hour, time.Second, time.Second},
		{"the widest bounds", backoff.Policy{Min: 1, Max: math.MaxInt64}, 9, math.MaxInt64, math.MaxInt64 / 10, math.MaxInt64 / 10 * 3},
	} {
		t.Run(test.what, func(t *testing.T) {
			assert.Equal(t, test.shortest, test.policy.Wait(test.failures, test.elapsed, 0))
			assert.InDelta(t, test.longest, test.policy.Wait(test.failures, test.elapsed, almostOne), float64(test.longest)/1e6)
			assert.InDelta(t, (test.shortest+test.longest)/2, test.policy.Wait(test.failures, test.elapsed, 0.5), float64(test.longest)/1e6)
		})
	}
}

func FuzzWaitIsWithinItsBounds(f *testing.F) {
	f.Add(int64(chosen.Min), int64(chosen.Max), 1, int64(time.Second), 0.5)
	f.Add(int64(1), int64(math.MaxInt64), 2, int64(math.MaxInt64), almostOne)
	f.Add(int64(time.Second), int64(time.Second), 3, int64(-1), 0.0)
	f.Fuzz(func(t *testing.T, shortest, longest int64, failures int, elapsed int64, random float64) {
		if shortest <= 0 || longest < shortest || failures < 1 || !(random >= 0 && random < 1) {
			t.Skip("not what a caller may ask")
		}
		p := backoff.Policy{Min: time.Duration(shortest), Max: time.Duration(longest)}
		got := p.Wait(failures, time.Duration(elapsed), random)
		assert.GreaterOrEqual(t, got, p.Min)
		assert.LessOrEqual(t, got, p.Max)
	})
}

func TestAServiceThatIsDownIsTriedOnceAMinuteAtMost(t *testing.T) {
	var (
		elapsed  time.Duration
		failures int
	)
	for elapsed < time.Hour {
		failures++
		next := elapsed + chosen.Wait(failures, elapsed, 0)
		if elapsed >= 10*time.Minute {
			require.GreaterOrEqual(t, next-elapsed, time.Minute)
		}
		elapsed = next
	}
	assert.Less(t, failures, 100, "attempts in an hour, of the unluckiest device")
}
