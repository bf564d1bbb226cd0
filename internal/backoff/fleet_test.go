package backoff_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestFleetAtPowerOnTakesLittleMoreThanItsQuota(t *testing.T) {
	for _, test := range []struct {
		devices     int
		fleets      uint64
		quotas      float64 // until the last device is registered
		connections float64 // per device, if throttled requests close them
		crowded     int     // seconds with more connections than the quota
	}{
		{devices: 1, fleets: 10, quotas: 20, connections: 1},
		{devices: 1_000, fleets: 20, quotas: 1.5, connections: 5},
		{devices: 10_000, fleets: 2, quotas: 1.2, connections: 16, crowded: 30},
		{devices: 50_000, fleets: 1, quotas: 1.05, connections: 35, crowded: 600},
	} {
		for _, s := range []service{answering429(), closing()} {
			t.Run(fmt.Sprintf("%d devices, %s", test.devices, s), func(t *testing.T) {
				t.Parallel()
				for seed := range test.fleets {
					o := powerOn(test.devices, s, chosen.Wait, seed)
					assert.Less(t, o.within(1).Seconds(), test.quotas*quota(test.devices).Seconds())
					assert.Equal(t, test.devices, o.creates)
					assert.Zero(t, o.expired)
					assert.LessOrEqual(t, o.connectionsPerDevice(), test.connections)
					assert.LessOrEqual(t, o.crowded(), test.crowded)
				}
			})
		}
	}
}

func TestFleetThatIsCertifiedFasterThanRegistered(t *testing.T) {
	s := closing()
	s.create = 20 // the quota of CreateCertificateFromCsr
	for _, test := range []struct {
		devices int
		expired int
	}{
		{devices: 1_000},
		{devices: 10_000},
		{devices: 50_000, expired: 2_500}, // the quota alone takes 83 minutes, a token lives 60
	} {
		t.Run(fmt.Sprint(test.devices), func(t *testing.T) {
			t.Parallel()
			o := powerOn(test.devices, s, chosen.Wait, 1)
			assert.Less(t, o.within(1).Seconds(), 1.5*quota(test.devices).Seconds())
			assert.LessOrEqual(t, o.expired, test.expired)
			assert.Equal(t, test.devices+o.expired, o.creates)
			assert.Less(t, o.perDevice(o.creates), 1.1)
		})
	}
}

func TestFleetWhoseServiceIsDownForAnHour(t *testing.T) {
	const devices = 1_000
	s := closing()
	s.downFor = time.Hour
	o := powerOn(devices, s, chosen.Wait, 1)

	for minute := 10; minute < 60; minute++ {
		attempts := 0
		for _, n := range o.connections[60*minute : 60*minute+60] {
			attempts += n
		}
		assert.LessOrEqual(t, attempts, devices, "in minute %d", minute)
	}
	assert.Less(t, o.within(1)-s.downFor, chosen.Max+quota(devices), "a wait that has just begun, and the quota")
	assert.Equal(t, devices, o.creates)
}
