package fleetprovtest

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A simulator that runs for long sees more client ids than it can keep buckets for.
func TestFullBucketsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := newThrottle(
			map[Op]Quota{OpSubscribe: {Burst: 1}},
			map[Op]Quota{OpConnect: {PerSecond: 1, Burst: 2}, OpSubscribe: {PerSecond: 1}},
			time.Now)
		passes := func(op Op, clientID string) bool { return throttle.count(op, clientID) == nil }

		assert.True(t, passes(OpSubscribe, "busy"))
		for i := range 10_000 {
			assert.True(t, passes(OpConnect, "device-"+strconv.Itoa(i)))
		}
		assert.True(t, passes(OpConnect, "busy"))
		assert.True(t, passes(OpConnect, "busy"))
		assert.False(t, passes(OpConnect, "busy"))
		assert.Len(t, throttle.buckets, 10_003, "no bucket is full")

		<-time.After(time.Second)
		assert.True(t, passes(OpConnect, "late"))
		assert.Len(t, throttle.buckets, 3, "late, busy and the account")
		assert.True(t, passes(OpConnect, "busy"))
		assert.False(t, passes(OpConnect, "busy"), "it had refilled by one request only")
		assert.False(t, passes(OpSubscribe, "late"), "the account's bucket does not refill")
	})
}
