package fleetprovtest

import (
	"math"
	"time"
)

// Quota is how many requests of one operation an account may make, all its
// devices together. It is a token bucket, full at first. A request over the
// quota has no effect. The zero Quota lets nothing pass.
type Quota struct {
	// PerSecond is how many requests pass in a second in the long run. It is
	// not negative.
	PerSecond float64

	// Burst is how many requests pass at once after a time without any. With 0
	// it is PerSecond, rounded up.
	Burst int

	// Close closes the connection of a request that is over the quota, without
	// an answer. Otherwise a provisioning operation is answered with status
	// 429. Connect and Subscribe have no such answer, and always end in a
	// closed connection.
	Close bool
}

// spending is how much of a bucket is gone.
type spending struct {
	requests float64
	at       time.Time
}

// spend takes a request from the bucket, and reports whether there was one left.
func (q Quota) spend(s spending, now time.Time) (spending, bool) {
	burst := float64(q.Burst)
	if q.Burst == 0 {
		burst = math.Ceil(q.PerSecond)
	}
	s.requests = max(0, s.requests-q.PerSecond*now.Sub(s.at).Seconds())
	s.at = now
	if s.requests+1 > burst {
		return s, false
	}
	s.requests++
	return s, true
}

// refusal is what becomes of a request of op that is over the quota.
func (q Quota) refusal(op Op) Fault {
	return Fault{
		Reject:     &Rejection{StatusCode: 429, Code: "TooManyRequests", Message: "Rate exceeded"},
		Disconnect: q.Close || op == OpConnect || op == OpSubscribe,
	}
}

// throttleLocked reports whether a request of op is over its quota.
func (s *Server) throttleLocked(op Op) bool {
	quota, limited := s.Quotas[op]
	if !limited {
		return false
	}
	spent, within := quota.spend(s.spent[op], time.Now())
	s.spent[op] = spent
	return !within
}
