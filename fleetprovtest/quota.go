package fleetprovtest

import (
	"maps"
	"math"
	"time"
)

// Quota is how many requests of one operation may be made. It is a token bucket, full at first. A request over the
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

// AWSQuotas returns the quotas of an AWS account that has not asked for more
// (AWS general reference, "iot-core"), with rejections where there are any.
func AWSQuotas() map[Op]Quota {
	return map[Op]Quota{
		OpConnect:                  {PerSecond: 500},
		OpSubscribe:                {PerSecond: 500},
		OpCreateKeysAndCertificate: {PerSecond: 10},
		OpCreateCertificateFromCSR: {PerSecond: 20},
		OpRegisterThing:            {PerSecond: 10},
	}
}

// spender is whose bucket it is.
type spender struct {
	op       Op
	clientID string // "" for the account
}

// throttleLocked returns the quota that a request is over, or nil.
func (s *Server) throttleLocked(op Op, clientID string) *Quota {
	if quota, limited := s.ClientQuotas[op]; limited && !s.spendLocked(quota, spender{op, clientID}) {
		return &quota
	}
	if quota, limited := s.Quotas[op]; limited && !s.spendLocked(quota, spender{op: op}) {
		return &quota
	}
	return nil
}

// maxSpenders is how many buckets are kept before the full ones are forgotten.
const maxSpenders = 10_000

func (s *Server) spendLocked(quota Quota, by spender) bool {
	now := s.now()
	if len(s.spent) >= maxSpenders {
		maps.DeleteFunc(s.spent, func(by spender, spent spending) bool {
			return by.clientID != "" && s.ClientQuotas[by.op].refilled(spent, now)
		})
	}
	spent, within := quota.spend(s.spent[by], now)
	s.spent[by] = spent
	return within
}

// refilled reports whether a bucket is full again.
func (q Quota) refilled(s spending, now time.Time) bool {
	return q.PerSecond*now.Sub(s.at).Seconds() >= s.requests
}
