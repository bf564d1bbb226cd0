package fleetprovtest

import (
	"maps"
	"sync"
	"time"
)

// maxBuckets is how many buckets are kept before the full ones are forgotten.
const maxBuckets = 10_000

// throttle counts requests against quotas.
type throttle struct {
	now              func() time.Time
	account, clients map[Op]Quota // of all clients together, and of each; they do not change

	mu      sync.Mutex // guards buckets
	buckets map[bucketKey]bucket
}

// bucketKey says whose bucket it is.
type bucketKey struct {
	op       Op
	clientID string // "" for the account
}

func newThrottle(account, clients map[Op]Quota, now func() time.Time) *throttle {
	return &throttle{now: now, account: account, clients: clients, buckets: make(map[bucketKey]bucket)}
}

// count counts a request. It returns the quota that the request is over, or nil.
func (t *throttle) count(op Op, clientID string) *Quota {
	t.mu.Lock()
	defer t.mu.Unlock()
	if quota, limited := t.clients[op]; limited && !t.takeLocked(quota, bucketKey{op, clientID}) {
		return &quota
	}
	if quota, limited := t.account[op]; limited && !t.takeLocked(quota, bucketKey{op: op}) {
		return &quota
	}
	return nil
}

func (t *throttle) takeLocked(quota Quota, key bucketKey) bool {
	now := t.now()
	if len(t.buckets) >= maxBuckets {
		maps.DeleteFunc(t.buckets, func(key bucketKey, b bucket) bool {
			return key.clientID != "" && t.clients[key.op].full(b, now)
		})
	}
	b, within := quota.take(t.buckets[key], now)
	t.buckets[key] = b
	return within
}
