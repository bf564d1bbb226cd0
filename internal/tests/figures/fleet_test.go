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
	downFor    time.Duration // how long there is no service at first
	hangsUp    bool          // connections are taken and closed then; else nothing can be reached
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
				switch {
				case now >= f.downFor:
					return listener.Dial(ctx, network, address)
				case f.hangsUp:
					return hungUpOn(), nil
				default:
					return nil, errors.New("no network")
				}
			}
			device, err := fleetprov.New(server.Endpoint(), provtest.Template, claim, fleetprov.WithGeneratedKey(), fleetprov.WithDialer(dial), fleetprov.WithLogger(nil))
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

// hungUpOn returns a connection that the other side closes when the ClientHello arrives.
func hungUpOn() net.Conn {
	near, far := net.Pipe()
	go func() {
		_, _ = far.Read(make([]byte, 16<<10))
		far.Close()
	}()
	return near
}

// within returns when the given percentage of the devices was registered.
func (r fleetRun) within(percent int) time.Duration {
	return r.registered[max(1, len(r.registered)*percent/100)-1]
}

// perDevice divides by the number of devices.
func (r fleetRun) perDevice(n int) float64 { return float64(n) / float64(len(r.registered)) }

// connectionsPerDevice is how many connections a device tried, on average.
func (r fleetRun) connectionsPerDevice() float64 {
	sum := 0
	for _, times := range r.dialled {
		sum += len(times)
	}
	return r.perDevice(sum)
}

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

// crowded is the number of seconds after the first with more than 500 connections.
func (r fleetRun) crowded() (seconds int) {
	for _, n := range r.connections()[1:] {
		if n > 500 {
			seconds++
		}
	}
	return seconds
}

// In the model of internal/backoff, 1,000 devices take 1.24 times what the quota alone
// takes, and make 4.4 connections each, where throttled requests close them
// (go test -run '^$' -bench 'Fleet/chosen/^1000$' -benchtime 10x ./internal/backoff).
// Where they are answered the model keeps the connection. This module does not.
//
// Of 100 devices, which the quota would let in within 10 s, most wait twice, which
// takes up to 36 s.
func TestFleetAtPowerOn(t *testing.T) {
	devices, soon := 100, time.Minute
	if *provtest.Full {
		devices, soon = 1_000, fleetQuota(1_000)*13/10
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
			t.Logf("%v, %v connections a device", run.within(100), run.connectionsPerDevice())
			assert.LessOrEqual(t, run.within(100), soon)
			assert.Equal(t, devices, run.creates, "a certificate each: none is thrown away, no token expires")
			assert.Less(t, run.peak(), devices/2, "connections a second, after the first")
			if *provtest.Full {
				assert.InDelta(t, 4.4, run.connectionsPerDevice(), 0.3, "as in the model")
			}
		})
	}
}

// The connections in the model are those of BenchmarkFleetElsewhere for 1,000 devices.
func TestFleetWhoseServiceIsDownForAnHour(t *testing.T) {
	devices := 100
	if *provtest.Full {
		devices = 1_000
	}
	for _, test := range []struct {
		name        string
		hangsUp     bool
		soon        time.Duration // for 99 of 100
		connections float64       // in the model
		shortest    time.Duration // between two attempts of a device in the second half of the hour
	}{
		{"it cannot be reached", false, 6 * time.Minute, 46.4, 50 * time.Second},
		{"it takes connections and closes them", true, 25 * time.Minute, 26.5, 3 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := fleet{devices: devices, createRate: registerRate, downFor: time.Hour, hangsUp: test.hangsUp}.powerOn(t)
			for _, times := range run.dialled {
				for i := 1; i < len(times) && times[i] < time.Hour; i++ {
					if times[i-1] >= 30*time.Minute {
						require.GreaterOrEqual(t, times[i]-times[i-1], test.shortest)
					}
				}
			}
			t.Logf("%v, %v connections a device", run.within(99), run.connectionsPerDevice())
			assert.LessOrEqual(t, run.within(99), time.Hour+test.soon)
			assert.InDelta(t, test.connections, run.connectionsPerDevice(), 1.5, "as in the model")
			assert.Equal(t, devices, run.creates)
		})
	}
}

func TestADeviceTriesWithinThreeMinutesOfTheReturnOfItsNetwork(t *testing.T) {
	for _, gone := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		run := fleet{devices: 1, createRate: registerRate, downFor: gone}.powerOn(t)
		assert.LessOrEqual(t, run.within(100), gone+3*time.Minute)
	}
}
