package fleetprovtest

import (
	"maps"
	"math"
	"time"
)

// Quota is how many requests of one operation may be made. It is a token bucket,
// full at first. A request over the quota has no effect. The zero Quota lets nothing
// pass.
type Quota struct {
	// PerSecond is how many requests pass in a second in the long run. It is
	// not negative.
	PerSecond float64

	// Burst is how many requests pass at once when the bucket is full. 0 means
	// PerSecond, rounded up.
	Burst int

	// Close closes the connection of a request that is over the quota, without
	// an answer. Otherwise a provisioning operation is answered with status
	// 429. Connect and Subscribe have no such answer: their connection is always
	// closed.
	Close bool
}

// bucket is how much of a token bucket was taken by a time.
type bucket struct {
	taken float64 // requests
	at    time.Time
}

// take takes a request from the bucket, and reports whether there was one left.
func (q Quota) take(b bucket, now time.Time) (bucket, bool) {
	burst := float64(q.Burst)
	if q.Burst == 0 {
		burst = math.Ceil(q.PerSecond)
	}
	b.taken = max(0, b.taken-q.PerSecond*now.Sub(b.at).Seconds())
	b.at = now
	if b.taken+1 > burst {
		return b, false
	}
	b.taken++
	return b, true
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

// bucketKey says whose bucket it is.
type bucketKey struct {
	op       Op
	clientID string // "" for the account
}

// throttleLocked returns the quota that a request is over, or nil.
func (s *Server) throttleLocked(op Op, clientID string) *Quota {
	if quota, limited := s.ClientQuotas[op]; limited && !s.takeLocked(quota, bucketKey{op, clientID}) {
		return &quota
	}
	if quota, limited := s.Quotas[op]; limited && !s.takeLocked(quota, bucketKey{op: op}) {
		return &quota
	}
	return nil
}

// maxBuckets is how many buckets are kept before the full ones are forgotten.
const maxBuckets = 10_000

func (s *Server) takeLocked(quota Quota, key bucketKey) bool {
	now := s.now()
	if len(s.spent) >= maxBuckets {
		maps.DeleteFunc(s.spent, func(key bucketKey, b bucket) bool {
			return key.clientID != "" && s.ClientQuotas[key.op].full(b, now)
		})
	}
	b, within := quota.take(s.spent[key], now)
	s.spent[key] = b
	return within
}

// full reports whether a bucket has refilled.
func (q Quota) full(b bucket, now time.Time) bool {
	return q.PerSecond*now.Sub(b.at).Seconds() >= b.taken
}
