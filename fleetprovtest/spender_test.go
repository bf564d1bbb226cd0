package fleetprovtest

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A simulator sees more client ids than it can remember.
func TestFullBucketsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewUnstartedServer()
		defer s.Close()
		s.ClientQuotas = map[Op]Quota{OpConnect: {PerSecond: 1, Burst: 2}, OpSubscribe: {PerSecond: 1}}
		s.Quotas = map[Op]Quota{OpSubscribe: {Burst: 1}}
		passes := func(op Op, clientID string) bool { return s.take(op, clientID).Reject == nil }

		assert.True(t, passes(OpSubscribe, "busy"))
		for i := range 10_000 {
			assert.True(t, passes(OpConnect, "device-"+strconv.Itoa(i)))
		}
		assert.True(t, passes(OpConnect, "busy"))
		assert.True(t, passes(OpConnect, "busy"))
		assert.False(t, passes(OpConnect, "busy"))
		assert.Len(t, s.spent, 10_003, "no bucket is full")

		s.Advance(time.Second)
		assert.True(t, passes(OpConnect, "late"))
		assert.Len(t, s.spent, 3, "late, busy and the account")
		assert.True(t, passes(OpConnect, "busy"))
		assert.False(t, passes(OpConnect, "busy"), "it had refilled by one request only")
		assert.False(t, passes(OpSubscribe, "late"), "the account's does not refill")
	})
}
