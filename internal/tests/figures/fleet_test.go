package figures_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// registerRate is how many RegisterThing the account of a fleet may make in a
// second.
const registerRate = 10

// fleetQuota is how long the quota alone takes to let a fleet in.
func fleetQuota(devices int) time.Duration {
	return time.Duration(devices) * time.Second / registerRate
}

// fleet is devices that are switched on in one instant.
type fleet struct {
	devices    int
	createRate int           // how many certificates the account may ask for in a second
	answered   bool          // a throttled request is answered with 429, not by closing the connection
	downFor    time.Duration // how long nothing can be reached at first
}

// fleetRun is how a fleet fared. Its times count from the power-on.
type fleetRun struct {
	registered []time.Duration   // when each device was, in order
	dialled    [][]time.Duration // when each device tried to connect
	creates    int               // certificates issued
}

// powerOn runs a fleet, each device with all that a device runs, until the last
// one is registered. It happens in a bubble, whose clock advances when nobody has
// anything to do but wait: neither the network nor the processor takes any time.
func (f fleet) powerOn(t *testing.T) (run fleetRun) {
	synctest.Test(t, func(t *testing.T) {
		quota := func(rate int) fleetprovtest.Quota {
			quota := fleetprovtest.Quota{PerSecond: float64(rate), Burst: rate}
			if f.answered {
				quota.Answer = fleetprovtest.Answer429
			}
			return quota
		}
		server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) {
			server.Quotas = map[fleetprovtest.Op]fleetprovtest.Quota{
				fleetprovtest.OpCreateCertificateFromCSR: quota(f.createRate),
				fleetprovtest.OpRegisterThing:            quota(registerRate),
			}
		})
		claim := provtest.Claim(t, server)

		began := time.Now()
		run.registered = make([]time.Duration, f.devices)
		run.dialled = make([][]time.Duration, f.devices)
		var switchedOn sync.WaitGroup
		for i := range f.devices {
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				now := time.Since(began)
				run.dialled[i] = append(run.dialled[i], now)
				if now < f.downFor {
					return nil, errors.New("no network")
				}
				return listener.Dial(ctx, network, address)
			}
			device, err := fleetprov.New(server.Endpoint(), provtest.Template, claim, fleetprov.WithGeneratedKey(), fleetprov.WithDialer(dial))
			require.NoError(t, err)
			switchedOn.Go(func() {
				_, err := device.Provision(t.Context(), map[string]string{"SerialNumber": strconv.Itoa(i)})
				assert.NoError(t, err)
				run.registered[i] = time.Since(began)
			})
		}
		switchedOn.Wait()
		slices.Sort(run.registered)
		assert.Len(t, server.Things(), f.devices)
		run.creates = len(server.Certificates())
	})
	return run
}

// within returns when the given percentage of the devices was registered.
func (r fleetRun) within(percent int) time.Duration {
	return r.registered[max(1, len(r.registered)*percent/100)-1]
}

// perDevice divides by the number of devices.
func (r fleetRun) perDevice(n int) float64 { return float64(n) / float64(len(r.registered)) }

// connections returns how many connections were tried, by second.
func (r fleetRun) connections() []int {
	seconds := make([]int, r.within(100)/time.Second+1)
	for _, times := range r.dialled {
		for _, at := range times {
			seconds[at/time.Second]++
		}
	}
	return seconds
}

// peak is the most connections in one second after the first.
func (r fleetRun) peak() int { return slices.Max(append([]int{0}, r.connections()[1:]...)) }

// For 1,000 devices the bound is one and a half times what the quota alone takes.
// Of 100 devices, which the quota would let in within 10 s, most wait twice, which
// takes up to 36 s.
func TestFleetAtPowerOn(t *testing.T) {
	devices, soon := 100, time.Minute
	if *provtest.Full {
		devices, soon = 1_000, fleetQuota(1_000)*3/2
	}
	for _, test := range []struct {
		name  string
		fleet fleet
	}{
		{"throttled requests are answered", fleet{devices: devices, createRate: registerRate, answered: true}},
		{"throttled requests close their connection", fleet{devices: devices, createRate: registerRate}},
		{"most that have a certificate wait for their registration", fleet{devices: devices, createRate: 2 * registerRate}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			run := test.fleet.powerOn(t)
			assert.LessOrEqual(t, run.within(100), soon)
			assert.Equal(t, devices, run.creates, "a certificate each: none is thrown away, no token expires")
			assert.Less(t, run.peak(), devices/2, "connections a second, after the first")
		})
	}
}

func TestFleetWhoseServiceIsDownForAnHour(t *testing.T) {
	devices := 100
	if *provtest.Full {
		devices = 1_000
	}
	run := fleet{devices: devices, createRate: registerRate, downFor: time.Hour}.powerOn(t)
	for _, times := range run.dialled {
		for i := 1; i < len(times); i++ {
			if times[i-1] >= 10*time.Minute {
				require.GreaterOrEqual(t, times[i]-times[i-1], time.Minute, "between two attempts of a device")
			}
		}
	}
	longest := 3 * time.Minute
	assert.LessOrEqual(t, run.within(100), time.Hour+longest+fleetQuota(devices), "a wait that has just begun, and the quota")
	assert.Equal(t, devices, run.creates)
}
