// Package backoff decides how long a device waits before it tries again.
//
// AWS IoT allows a whole account 10 CreateKeysAndCertificate and 10 RegisterThing
// a second, so most of a thousand devices switched on together are throttled
// again and again. A device does not know how many others there are. It knows
// how long it has been trying: after t seconds the quota has served 10t devices,
// so a fraction of the time gone by is the best guess of the time still to come.
// [Policy.Wait] returns a random time from a to 3a, where a is
//
//	Min                                  after the first failure
//	elapsed/10, in [5 Min, Max/3]        after any other
//
// The first is for a device that is alone and lost a packet. 5 Min keeps a
// thousand devices apart until elapsed shows that there are many of them. Max/3
// limits the rate while the service is down: with [DefaultMax] to one attempt a
// minute, from the tenth minute on.
//
// The kind of failure makes no difference. A throttled request can be answered
// with 429 or by closing the connection, which looks like any other failure.
//
// The table shows fleets switched on in one instant, the mean of 10 runs each. The
// service closes the connection of a request that it throttles, and accepts 500
// connections a second. Quota is the time until the last device is registered, as a
// multiple of the time that 10 registrations a second take; conn. is the connections
// per device; crowd is the number of seconds, without the first, in which more than
// 500 connections were tried.
//
//	                                   1,000 devices      10,000 devices     50,000 devices
//	                                 quota conn. crowd   quota conn. crowd   quota conn. crowd
//	this policy                       1.21   4.4     0    1.11  13.9    19    1.02  31.6   488
//	full jitter, 1 s doubled to 5 min 2.51   6.9     1    1.19  11.4    29    1.04  24.8   152
//	full jitter, 10 s doubled to 60 s 1.29   4.2     0    1.03  18.8    26    1.01  83.3  3452
//	elapsed/8 in 35–120 s, ± 25 %     1.76   3.4     0    1.13  12.8    20    1.02  31.5   682
//
// The numbers are the same for a client that opens a new connection after a 429, as
// this module's does. For one that keeps its connection, quota is the same to within
// 0.25, and the connections are 1, 2 to 4 and 3 to 7. No ownership token expires under
// any of the four policies. They differ in this: the second leaves the last devices
// of a small fleet waiting for minutes; the third tries twice a minute for as long as
// the service is down, and is crowded for an hour with 50,000 devices; the fourth
// makes every device wait at least 26 seconds, even one that is alone.
//
// All of this is measured by
//
//	go test -run '^$' -bench Fleet -benchtime 10x ./internal/backoff
package backoff

import "time"

// The bounds used unless the caller sets others.
const (
	DefaultMin = 2 * time.Second
	DefaultMax = 3 * time.Minute
)

// Policy is the bounds of every wait. Min is more than zero and Max is not less
// than Min; if they are equal, so are all waits, and devices do not spread.
type Policy struct {
	Min, Max time.Duration
}

// Wait returns how long to wait after that many failures, at least one, in a run
// that began elapsed ago. The caller draws random from [0, 1) for each wait.
// The result lies in [Min, Max].
func (p Policy) Wait(failures int, elapsed time.Duration, random float64) time.Duration {
	shortest := p.Min
	if failures > 1 {
		shortest = max(p.Min, min(max(5*p.Min, elapsed/10), p.Max/3))
	}
	longest := p.Max
	if shortest < p.Max/3 {
		longest = 3 * shortest
	}
	return shortest + time.Duration(random*float64(longest-shortest))
}
