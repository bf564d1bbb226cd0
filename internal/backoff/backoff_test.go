package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/backoff"
)

var chosen = backoff.Policy{Min: backoff.DefaultMin}

// almostOne is the largest number that math/rand draws from [0, 1).
const almostOne = 1 - 1.0/(1<<53)

const (
	reached   = true
	unreached = false
)

// failure is an attempt that failed, so long after the one before.
type failure struct {
	reached bool
	lasted  time.Duration
}

func tally(failures ...failure) backoff.Tally { return resumed(0, failures...) }

func resumed(refused time.Duration, failures ...failure) backoff.Tally {
	t := backoff.Resumed(refused)
	for _, f := range failures {
		t.Failed(f.reached, f.lasted)
	}
	return t
}

func TestWaitIsDrawnBetween(t *testing.T) {
	const day = 24 * time.Hour
	tiny := backoff.Policy{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	narrow := backoff.Policy{Min: time.Minute, Max: 2 * time.Minute}
	short := backoff.Policy{Min: 2 * time.Second, Max: time.Minute}
	slow := backoff.Policy{Min: time.Hour}
	for _, test := range []struct {
		what              string
		policy            backoff.Policy
		tally             backoff.Tally
		certified         bool
		shortest, longest time.Duration
	}{
		{"a few seconds after the first refusal", chosen, tally(failure{reached, time.Second}), false, 2 * time.Second, 6 * time.Second},
		{"a few seconds after the first failure to reach anything", chosen, tally(failure{unreached, time.Minute}), false, 2 * time.Second, 6 * time.Second},
		{"ten seconds and more after the second", chosen, tally(failure{reached, time.Second}, failure{reached, 5 * time.Second}), false, 10 * time.Second, 30 * time.Second},
		{"a tenth of the time refused", chosen, tally(failure{reached, time.Minute}, failure{reached, 4 * time.Minute}), false, 30 * time.Second, 90 * time.Second},
		{"after an hour of refusals", chosen, tally(failure{reached, 0}, failure{reached, time.Hour}), false, 6 * time.Minute, 18 * time.Minute},
		{"a thirtieth of what goes beyond an hour", chosen, tally(failure{reached, 0}, failure{reached, 25 * time.Hour}), false, 54 * time.Minute, 162 * time.Minute},
		{"no less than before with a certificate", chosen, tally(failure{reached, 0}, failure{reached, 5 * time.Minute}), true, 30 * time.Second, 90 * time.Second},
		{"a quarter of a token's life with a certificate", chosen, tally(failure{reached, 0}, failure{reached, day}), true, 5 * time.Minute, 15 * time.Minute},
		{"less than three minutes after an hour without a network", chosen, tally(failure{unreached, 0}, failure{unreached, time.Hour}), false, 50 * time.Second, 150 * time.Second},
		{"the same after a year, and with a certificate", chosen, tally(failure{unreached, 0}, failure{unreached, 365 * day}), true, 50 * time.Second, 150 * time.Second},
		{"the same after refusals, when the network has gone", chosen, tally(failure{reached, day}, failure{unreached, time.Hour}), false, 50 * time.Second, 150 * time.Second},
		{"soon when the network has just gone", chosen, tally(failure{reached, day}, failure{unreached, time.Second}), false, 10 * time.Second, 30 * time.Second},
		{"as for a fresh start when the network is back", chosen, tally(failure{unreached, 0}, failure{unreached, day}, failure{reached, time.Minute}), false, 10 * time.Second, 30 * time.Second},
		{"by all refusals when the network is back", chosen, tally(failure{reached, 50 * time.Minute}, failure{unreached, day}, failure{reached, 10 * time.Minute}), false, 6 * time.Minute, 18 * time.Minute},
		{"by the refusals before a restart", chosen, resumed(time.Hour, failure{reached, 0}), false, 6 * time.Minute, 18 * time.Minute},
		{"a maximum, after a day of refusals", short, tally(failure{reached, 0}, failure{reached, day}), false, 20 * time.Second, time.Minute},
		{"a maximum, with a certificate", short, tally(failure{reached, 0}, failure{reached, day}), true, 20 * time.Second, time.Minute},
		{"a maximum, without a network", short, tally(failure{unreached, 0}, failure{unreached, day}), false, 20 * time.Second, time.Minute},
		{"a minimum above all, without a network", slow, tally(failure{unreached, 0}, failure{unreached, day}), false, time.Hour, time.Hour},
		{"a minimum above all, with a certificate", slow, tally(failure{reached, 0}, failure{reached, day}), true, time.Hour, time.Hour},
		{"tiny bounds, first", tiny, tally(failure{reached, time.Second}), false, 10 * time.Millisecond, 30 * time.Millisecond},
		{"tiny bounds, later", tiny, tally(failure{reached, time.Second}, failure{reached, time.Second}), false, 100 * time.Millisecond / 3, 100 * time.Millisecond},
		{"bounds close together, first", narrow, tally(failure{reached, time.Second}), false, time.Minute, 2 * time.Minute},
		{"bounds close together, later", narrow, tally(failure{reached, time.Hour}, failure{reached, time.Hour}), false, time.Minute, 2 * time.Minute},
		{"one bound", backoff.Policy{Min: time.Second, Max: time.Second}, tally(failure{reached, time.Hour}, failure{reached, time.Hour}), false, time.Second, time.Second},
		{"centuries", chosen, resumed(math.MaxInt64, failure{reached, 0}), false, time.Hour/10 + (math.MaxInt64-time.Hour)/30, 3 * (time.Hour/10 + (math.MaxInt64-time.Hour)/30)},
	} {
		t.Run(test.what, func(t *testing.T) {
			wait := func(random float64) time.Duration { return test.policy.Wait(test.tally, test.certified, random) }
			assert.Equal(t, test.shortest, wait(0))
			assert.InDelta(t, test.longest, wait(almostOne), float64(test.longest)/1e6)
			assert.InDelta(t, (test.shortest+test.longest)/2, wait(0.5), float64(test.longest)/1e6)
		})
	}
}

func TestTheFirstAttemptAfterARestart(t *testing.T) {
	for _, test := range []struct {
		what    string
		policy  backoff.Policy
		tally   backoff.Tally
		longest time.Duration
	}{
		{"is at once for a new device", chosen, backoff.Tally{}, 0},
		{"is at once if nothing was refused", chosen, backoff.Resumed(0), 0},
		{"is at once if the record is nonsense", chosen, backoff.Resumed(-time.Hour), 0},
		{"is within a tenth of the time refused", chosen, backoff.Resumed(10 * time.Minute), time.Minute},
		{"is within three minutes", chosen, backoff.Resumed(1000 * time.Hour), 3 * time.Minute},
		{"is within the maximum", backoff.Policy{Min: time.Second, Max: 5 * time.Second}, backoff.Resumed(time.Hour), 5 * time.Second},
	} {
		t.Run(test.what, func(t *testing.T) {
			assert.Zero(t, test.policy.First(test.tally, 0))
			assert.InDelta(t, test.longest, test.policy.First(test.tally, almostOne), 10)
		})
	}
}

func FuzzWaitIsWithinItsBounds(f *testing.F) {
	f.Add(int64(chosen.Min), int64(0), 1, int64(time.Second), int64(0), reached, false, 0.5)
	f.Add(int64(1), int64(math.MaxInt64), 2, int64(math.MaxInt64/200), int64(math.MaxInt64/2), unreached, true, almostOne)
	f.Add(int64(time.Second), int64(time.Second), 3, int64(0), int64(1), reached, true, 0.0)
	f.Fuzz(func(t *testing.T, shortest, longest int64, failures int, lasted, resumed int64, reached, certified bool, random float64) {
		if shortest <= 0 || longest < shortest && longest != 0 || failures < 1 || failures > 100 || lasted < 0 || lasted > math.MaxInt64/200 ||
			resumed > math.MaxInt64/2 || !(random >= 0 && random < 1) {
			t.Skip("not what a caller may ask")
		}
		p := backoff.Policy{Min: time.Duration(shortest), Max: time.Duration(longest)}
		tally := backoff.Resumed(time.Duration(resumed))
		first := p.First(tally, random)
		for range failures {
			tally.Failed(reached, time.Duration(lasted))
		}
		got := p.Wait(tally, certified, random)
		assert.GreaterOrEqual(t, got, p.Min)
		assert.GreaterOrEqual(t, first, time.Duration(0))
		if longest != 0 {
			assert.LessOrEqual(t, got, p.Max)
			assert.LessOrEqual(t, first, p.Max)
		}
		if !reached {
			assert.LessOrEqual(t, got, max(p.Min, 150*time.Second))
		}
	})
}
