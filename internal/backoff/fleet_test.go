package backoff_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestFleetAtPowerOnTakesLittleMoreThanItsQuota(t *testing.T) {
	for _, test := range []struct {
		devices     int
		fleets      int
		quotas      float64 // until the last device is registered
		connections float64 // per device, if throttled requests close them
		crowded     int     // seconds with more connections than the quota
	}{
		{devices: 1, fleets: 10, quotas: 20, connections: 1},
		{devices: 1_000, fleets: 20, quotas: 1.3, connections: 5},
		{devices: 10_000, fleets: 2, quotas: 1.25, connections: 15, crowded: 30},
		{devices: 50_000, fleets: 1, quotas: 1.2, connections: 24, crowded: 600},
		{devices: 100_000, fleets: 1, quotas: 1.2, connections: 30, crowded: 1200},
		{devices: 1_000_000, fleets: 1, quotas: 1.1, connections: 50, crowded: 20_000},
	} {
		for _, s := range []service{answering429(), closing()} {
			t.Run(fmt.Sprintf("%d devices, %s", test.devices, s), func(t *testing.T) {
				if test.devices > 100_000 && !*provtest.Full {
					t.Skip("it takes half a minute: -full runs it")
				}
				t.Parallel()
				var quotas, connections float64 // means over the fleets
				for seed := range test.fleets {
					o := fleet{devices: test.devices, service: s, wait: chosenWait, seed: uint64(seed)}.run()
					quotas += o.within(1).Seconds() / s.quota(test.devices).Seconds() / float64(test.fleets)
					connections += o.connectionsPerDevice() / float64(test.fleets)
					assert.LessOrEqual(t, o.perDevice(o.creates), 1.02)
					assert.LessOrEqual(t, o.crowded(), test.crowded)
				}
				assert.LessOrEqual(t, quotas, test.quotas)
				assert.LessOrEqual(t, connections, test.connections)
			})
		}
	}
}

func TestFleetWithAnotherQuota(t *testing.T) {
	s := closing()
	s.create, s.register = 50, 50
	for _, devices := range []int{1_000, 10_000, 100_000} {
		o := fleet{devices: devices, service: s, wait: chosenWait}.run()
		// With 50 a second 1,000 devices take 20 s, and the second wait up to 30 s.
		assert.LessOrEqual(t, o.within(1), s.quota(devices)*5/4+30*time.Second)
		assert.LessOrEqual(t, o.connectionsPerDevice(), 19.0)
		assert.Equal(t, devices, o.creates)
	}
}

func TestFleetThatIsSwitchedOnOverTenMinutes(t *testing.T) {
	const over = 10 * time.Minute
	for _, devices := range []int{1_000, 10_000, 100_000} {
		s := closing()
		o := fleet{devices: devices, service: s, wait: chosenWait, over: over}.run()
		assert.LessOrEqual(t, o.within(1), max(over+time.Minute, s.quota(devices)*5/4))
		assert.LessOrEqual(t, o.connectionsPerDevice(), 27.0)
		assert.Equal(t, devices, o.creates)
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
			o := fleet{devices: test.devices, service: s, wait: chosenWait, seed: 1}.run()
			assert.Less(t, o.within(1).Seconds(), 1.5*s.quota(test.devices).Seconds())
			assert.LessOrEqual(t, o.expired, test.expired)
			assert.Equal(t, test.devices+o.expired, o.creates)
			assert.Less(t, o.perDevice(o.creates), 1.1)
		})
	}
}

func TestALoneDeviceTriesWithinThreeMinutesOfTheReturnOfItsNetwork(t *testing.T) {
	for _, gone := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		for seed := range 200 {
			f := fleet{devices: 1, service: closing(), wait: chosenWait, seed: uint64(seed), offline: 1, offlineFor: gone}
			o := f.run()
			require.GreaterOrEqual(t, o.within(1), gone)
			require.LessOrEqual(t, o.within(1), gone+3*time.Minute, "alone, it is registered by its first try")
		}
	}
}

func TestFleetOfWhichATenthHasNoNetworkForAnHour(t *testing.T) {
	const devices = 1_000
	s := closing()
	o := fleet{devices: devices, service: s, wait: chosenWait, offline: 0.1, offlineFor: time.Hour}.run()
	assert.LessOrEqual(t, o.within(0.85), s.quota(devices)*3/2, "those with a network")
	assert.LessOrEqual(t, o.within(1), time.Hour+3*time.Minute)
	assert.Equal(t, devices, o.creates)
}

func TestFleetWhoseServiceCannotBeReachedForAnHour(t *testing.T) {
	const devices = 1_000
	s := closing()
	s.downFor = time.Hour
	for seed := range uint64(20) {
		o := fleet{devices: devices, service: s, wait: chosenWait, seed: seed}.run()
		assert.LessOrEqual(t, o.within(0.99), s.downFor+6*time.Minute)
		assert.Equal(t, devices, o.creates)
	}
}

func TestFleetWhoseServiceHangsUpForAnHour(t *testing.T) {
	s := closing()
	s.downFor, s.hangsUp = time.Hour, true
	for _, devices := range []int{1, 1_000, 10_000} {
		for seed := range uint64(20) {
			o := fleet{devices: devices, service: s, wait: chosenWait, seed: seed}.run()
			if devices <= 1_000 {
				assert.LessOrEqual(t, o.within(0.99), s.downFor+25*time.Minute)
			}
			assert.LessOrEqual(t, o.within(1), s.downFor+50*time.Minute)
			assert.LessOrEqual(t, o.connectionsPerDevice(), 32.0)
			assert.Equal(t, devices, o.creates)
		}
	}
}
