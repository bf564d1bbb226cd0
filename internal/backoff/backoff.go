// Package backoff decides how long a device waits before it tries again.
//
// AWS IoT gives a whole account 10 CreateKeysAndCertificate and 10 RegisterThing
// a second, so that of a thousand devices switched on together most are
// throttled again and again. A device does not know how many others there are.
// It knows how long the service has been refusing it: after t seconds the quota
// has served 10t devices, and so the time still to come is guessed best as a
// fraction of t. [Policy.Wait] waits a random time from a to 3a, where a is
//
//	Min                            after the first failure
//	t/10, and at least 5 Min       after any other
//	the same, up to 50 seconds     if the service was not reached
//	the same, up to 5 minutes      if there is a certificate to register
//
// and of t, what goes beyond an hour counts a third: so the last of a million
// devices do not wait long for a quota that nobody uses any more. All of it is
// within Min and Max.
//
// The first line is for a device that is alone and lost a packet. 5 Min keeps a
// thousand devices apart until t tells them that they are many.
//
// Time counts only if it ended in a refusal by the service. Where the service is
// not reached, t is the time since it last was: attempts without a network cost
// AWS nothing, and the device is to try within three minutes of its return. How
// far an attempt came decides, and not what it failed with: a throttled request
// can be answered 429, or end in a closed connection, which looks like any other.
//
// A certificate is to be registered before its ownership token ends, which is
// after an hour.
//
// A device that is restarted goes on with the t that [Loop.Keep] wrote down, and
// makes its first attempt within a tenth of it, and within three minutes. A run that
// ends before its last wait is over leaves the rest to the next one in the process, in
// a [Past].
//
// No wall clock has a part in any of this.
//
// # Figures
//
// The table is of fleets switched on in one instant, where the service closes the
// connection of a request that it throttles, and 500 connections a second are let
// in. Quota is the time until the last device is registered, as a multiple of what
// 10 a second alone take; conn. are connections per device; crowd is for how many
// seconds after the first more than 500 connections were tried.
//
//	                                   1,000 devices     10,000 devices    100,000 devices   1,000,000 devices
//	                                 quota conn. crowd  quota conn. crowd  quota conn. crowd  quota conn. crowd
//	this policy                       1.24   4.4     0   1.18  13.9    20   1.12  26.5   990   1.08  49.0 18353
//	elapsed/10 in 10–60 s, times 1–3  1.24   4.4     0   1.12  13.9    20   1.01  52.4  3984
//	full jitter, 1 s doubled to 5 min 2.81   6.9     1   1.19  11.4    29   1.02  41.3  2480
//	full jitter, 1 s doubled to 2 min 1.78   6.9     1   1.07  14.9    29   1.01  88.7  6958
//	10 s doubled to 15 min           177.7  13.2     5
//
// The second is this policy with waits that end at three minutes. The third is what
// AWS recommends (architecture blog, "Exponential Backoff And Jitter"), the fourth
// the default of the MQTT 5 client in AWS's device SDKs, the fifth what the AWS IoT
// Device Client does. The connections of the second to fourth go on growing with the
// time the quota takes. One certificate a device is issued, and 1.004 in the fifth.
//
// The same policy elsewhere, with the time until 99 % of the devices are registered:
//
//	                                       1,000 devices     100,000 devices   1,000,000 devices
//	                                     99 % in   conn.    99 % in   conn.    99 % in    conn.
//	a quota of 50 a second                  38 s    2.5      2,100 s  17.5      20,124 s  31.8
//	switched on over ten minutes           594 s    1.0     10,173 s  25.5     100,125 s  48.8
//	a tenth without a network for an hour 3,703 s   8.4     10,179 s  29.6     100,115 s  52.7
//	an hour in which nothing is reached   3,736 s  46.4     13,787 s  66.2     103,704 s  88.6
//	an hour in which connections end      4,563 s  26.5     13,879 s  31.6     103,793 s  50.5
//	20 certificates a second (CSR)         114 s    4.4      9,990 s  27.4      99,004 s  55.4
//
// The last is CreateCertificateFromCsr, whose quota is twice that of RegisterThing.
// Then certificates are made faster than they can be registered. Where that goes on
// for more than an hour, tokens expire and certificates are made again: 1.3 per device
// at 100,000, and 1.9 at 1,000,000. AWS deletes those that expire.
//
// All of it is measured by
//
//	go test -run '^$' -bench 'Fleet$/.*/^(1000|10000|100000)$/closing' -benchtime 10x ./internal/backoff
//	go test -run '^$' -bench 'Fleet$/.*/^1000000$/closing' -benchtime 1x ./internal/backoff
//	go test -run '^$' -bench 'FleetElsewhere/.*/^(1000|100000)$/closing' -benchtime 10x ./internal/backoff
//	go test -run '^$' -bench 'FleetElsewhere/.*/^1000000$/closing' -benchtime 1x ./internal/backoff
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
	return early/10 + (gone-early)/30
}

func (p Policy) max() time.Duration {
	if p.Max == 0 {
		return math.MaxInt64
	}
	return p.Max
}
