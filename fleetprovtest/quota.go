package fleetprovtest

import (
	"math"
	"time"
)

// Quota is how many requests of one operation may be made. It is a token bucket that
// is full at first. A request over the quota has no effect. The zero Quota lets no
// request pass.
type Quota struct {
	// PerSecond is how many requests pass in a second in the long run. It must
	// not be negative.
	PerSecond float64

	// Burst is how many requests pass at once when the bucket is full. 0 means
	// PerSecond, rounded up.
	Burst int

	// Answer is what becomes of a provisioning operation that is over the quota. For
	// Connect and Subscribe there is no answer, so the connection is always closed.
	Answer QuotaAnswer
}

// QuotaAnswer is what AWS IoT does with a request that is over a [Quota].
type QuotaAnswer int

const (
	// CloseConnection closes the connection without an answer, which is what the one
	// public report of a throttled device says.
	CloseConnection QuotaAnswer = iota

	// Answer429 rejects the request with status 429.
	Answer429

	// Answer400 rejects the request with status 400 and the errorCode
	// ThrottlingException, as the HTTP API of RegisterThing does (API_RegisterThing).
	Answer400
)

// bucket is a token bucket of a quota. The zero bucket is full.
type bucket struct {
	taken float64   // requests, less what has been refilled
	at    time.Time // of the last change of taken
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

// refusal returns what happens to a request of op that is over the quota.
func (q Quota) refusal(op Op) Fault {
	rejection := &Rejection{StatusCode: 429, Code: "TooManyRequests", Message: "Rate exceeded"}
	if q.Answer == Answer400 {
		rejection.StatusCode, rejection.Code = 400, "ThrottlingException"
	}
	return Fault{
		Reject:     rejection,
		Disconnect: q.Answer == CloseConnection || op == OpConnect || op == OpSubscribe,
	}
}

// AWSQuotas returns the quotas of an AWS account that has not asked for more
// (AWS general reference, "iot-core").
func AWSQuotas() map[Op]Quota {
	return map[Op]Quota{
		OpConnect:                  {PerSecond: 500},
		OpSubscribe:                {PerSecond: 500},
		OpCreateKeysAndCertificate: {PerSecond: 10},
		OpCreateCertificateFromCSR: {PerSecond: 20},
		OpRegisterThing:            {PerSecond: 10},
	}
}

// full reports whether a bucket has refilled.
func (q Quota) full(b bucket, now time.Time) bool {
	return q.PerSecond*now.Sub(b.at).Seconds() >= b.taken
}
