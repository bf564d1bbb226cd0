package backoff

import (
	"math"
	"time"
)

// DefaultMin is the shortest wait for a caller that sets none. There is no longest.
const DefaultMin = 2 * time.Second

const (
	// unreachedMax bounds the waits of a device that reaches nothing. It is three
	// minutes less the 30 seconds that an attempt may hang which began just before
	// the network was back.
	unreachedMax = 150 * time.Second

	// certifiedMax bounds the waits of a device that has a certificate to register.
	// The ownership token is good for an hour.
	certifiedMax = 15 * time.Minute

	// restartMax bounds the wait before the first attempt.
	restartMax = 3 * time.Minute
)

// Policy is the bounds of every wait. Min is more than zero. Max is not less than
// Min, or zero for no bound. If they are equal the waits are too, and devices do not
// spread.
type Policy struct {
	Min, Max time.Duration
}

// Tally is how a device has fared so far. The zero Tally is of a device that has not
// tried yet.
type Tally struct {
	refused   time.Duration // how long the service has refused the device
	unreached time.Duration // how long the device has not reached the service; 0 if it last did
	failures  int
	reached   bool // whether the last attempt reached the service
}

// Resumed is the tally of a device that the service had refused for so long when it
// was restarted.
func Resumed(refused time.Duration) Tally {
	if refused <= 0 {
		return Tally{}
	}
	return Tally{refused: refused, failures: 1, reached: true}
}

// Failed adds a failure. Reached is whether the attempt came as far as the service,
// and lasted the time since the failure before, or else since the run began.
func (t *Tally) Failed(reached bool, lasted time.Duration) {
	t.failures++
	if t.reached = reached; reached {
		t.refused += lasted
		t.unreached = 0
	} else {
		t.unreached += lasted
	}
}

// Refused is how long the service has refused the device: all of the time that ended
// in a refusal.
func (t Tally) Refused() time.Duration { return t.refused }

// First returns how long to wait before the first attempt. It is zero unless the
// device is one that was restarted: then a power cut does not bring a fleet back in
// one instant, and a device that restarts every minute does not try every minute. The
// caller draws random from [0, 1).
func (p Policy) First(t Tally, random float64) time.Duration {
	return time.Duration(random * float64(min(growth(t.refused), restartMax, p.max())))
}

// Wait returns how long to wait after the last failure, of at least one. Certified is
// whether there is a certificate that is yet to be registered. The caller draws random
// from [0, 1) for each wait. The result lies in [Min, Max].
func (p Policy) Wait(t Tally, certified bool, random float64) time.Duration {
	gone, longest := t.refused, p.max()
	switch {
	case !t.reached:
		gone, longest = t.unreached, min(longest, max(p.Min, unreachedMax))
	case certified:
		longest = min(longest, max(p.Min, certifiedMax))
	}
	shortest := p.Min
	if t.failures > 1 {
		shortest = max(p.Min, min(max(5*p.Min, growth(gone)), longest/3))
	}
	if shortest < longest/3 {
		longest = 3 * shortest
	}
	return shortest + time.Duration(random*float64(longest-shortest))
}

// growth is the shortest wait, within the bounds, when something has gone on for so
// long.
func growth(gone time.Duration) time.Duration {
	early := min(gone, time.Hour)
	return early/10 + (gone-early)/25
}

func (p Policy) max() time.Duration {
	if p.Max == 0 {
		return math.MaxInt64
	}
	return p.Max
}
