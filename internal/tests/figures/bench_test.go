package figures_test

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// flows are the ways to provision that are measured, with the kinds of claims. The names
// are those of the table in docs/figures.md.
var flows = []struct {
	name      string
	smallKeys bool // the claim's key is one on P-256, which only its owner can have made
	config    *tls.Config
	opts      []fleetprov.Option
}{
	{"keys", false, nil, nil},
	{"keys-pipelined", false, nil, []fleetprov.Option{fleetprov.WithPipelining()}},
	{"keys-CBOR", false, nil, []fleetprov.Option{fleetprov.WithCBOR()}},
	{"keys-P-256-claim", true, nil, nil},
	{"CSR", false, nil, []fleetprov.Option{fleetprov.WithGeneratedKey()}},
	{"CSR-pipelined", false, nil, []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithPipelining()}},
	{"CSR-CBOR", false, nil, []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()}},
	{"CSR-P-256-claim", true, nil, []fleetprov.Option{fleetprov.WithGeneratedKey()}},
	{"CSR-without-post-quantum-key-share", false, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, []fleetprov.Option{fleetprov.WithGeneratedKey()}},
	{"CSR-TLS-1.2", false, &tls.Config{MaxVersion: tls.VersionTLS12}, []fleetprov.Option{fleetprov.WithGeneratedKey()}},
}

// BenchmarkProvision provisions a device by each flow, against an endpoint in
// another process that sends as much as AWS IoT does. It reports the round trips from
// the dial to the credentials, as in TestRoundTrips; the bytes that the device sends
// (up) and receives (down), in TCP (wire) and inside TLS (mqtt); and the allocations of
// the device alone.
func BenchmarkProvision(b *testing.B) {
	process := startServerProcess(b)
	for _, flow := range flows {
		b.Run(flow.name, func(b *testing.B) {
			server := process
			if !flow.smallKeys {
				server = process.withRSAClaim(b)
			}
			opts := slices.Concat(flow.opts, []fleetprov.Option{fleetprov.WithTLSConfig(flow.config), fleetprov.WithMaxAttempts(1)})
			var trips int
			asTest(b, func(t *testing.T) { trips = roundTrips(t, flow.config, flow.opts...) })
			mqttUp, mqttDown := server.insideTLS(b, opts...)
			var wire wire
			provisioner := server.newProvisioner(b, append(opts, fleetprov.WithDialer(wire.dial))...)
			b.ReportAllocs()
			for b.Loop() {
				_, err := provisioner.Provision(b.Context(), nil)
				require.NoError(b, err)
			}
			wire.open.Wait()
			b.ReportMetric(float64(trips), "roundtrips/op")
			b.ReportMetric(float64(wire.up.Load())/float64(b.N), "wire-up-B/op")
			b.ReportMetric(float64(wire.down.Load())/float64(b.N), "wire-down-B/op")
			b.ReportMetric(mqttUp, "mqtt-up-B/op")
			b.ReportMetric(mqttDown, "mqtt-down-B/op")
		})
	}
}

// asTest runs a test inside a benchmark: a bubble needs one.
func asTest(b *testing.B, test func(*testing.T)) {
	b.Helper()
	ran := false
	tests := []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		ran = true
		test(t)
	}}}
	// -run and -skip are for what go test runs.
	skip := flag.Lookup("test.skip").Value
	skipped := skip.String()
	require.NoError(b, skip.Set(""))
	passed := testing.RunTests(func(string, string) (bool, error) { return true, nil }, tests)
	require.NoError(b, skip.Set(skipped))
	require.True(b, ran && passed)
}

// BenchmarkManyAtOnce provisions devices through one Provisioner, all at once, as a
// factory's station or a gateway does. It reports what a device costs while all are
// connected, in memory (kB/device) and goroutines, what its connection costs the
// endpoint in the other process then (endpoint-kB/device) and after
// (endpoint-kB-after/device), and the time for each device when nothing holds them up
// but the machine, which they share with the endpoint.
func BenchmarkManyAtOnce(b *testing.B) {
	server := startServerProcess(b)
	for _, devices := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(devices), func(b *testing.B) {
			costs := whileConnected(b, server, devices)
			provisioner := server.newProvisioner(b, fleetprov.WithGeneratedKey(), soon)
			for b.Loop() {
				provisionAll(b, provisioner, devices)
			}
			for unit, cost := range costs {
				b.ReportMetric(cost/float64(devices), unit+"/device")
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*devices), "ms/device")
		})
	}
}

// soon lets a device try again that a busy machine kept waiting for too long.
var soon = fleetprov.WithBackoff(10*time.Millisecond, time.Second)

func provisionAll(b *testing.B, provisioner *fleetprov.Provisioner, devices int) {
	b.Helper()
	var running sync.WaitGroup
	for i := range devices {
		running.Go(func() {
			_, err := provisioner.Provision(b.Context(), map[string]string{"SerialNumber": fmt.Sprint(i)})
			if err != nil {
				b.Error(err)
			}
		})
	}
	running.Wait()
}

// whileConnected holds every device where it is about to register, and returns what
// all take then.
func whileConnected(b *testing.B, server serverProcess, devices int) map[string]float64 {
	b.Helper()
	var arrived atomic.Int64
	allHere, goOn := make(chan struct{}), make(chan struct{})
	hold := func(_ context.Context, p fleetprov.Progress) {
		if p.Op != fleetprov.OpRegisterThing || p.Done {
			return
		}
		if arrived.Add(1) == int64(devices) {
			close(allHere)
		}
		<-goOn
	}
	provisioner := server.newProvisioner(b, fleetprov.WithGeneratedKey(), soon, fleetprov.WithProgress(hold))
	memoryBefore, goroutinesBefore := inUse()
	endpointBefore := server.memory(b)
	var all sync.WaitGroup
	all.Go(func() { provisionAll(b, provisioner, devices) })
	provtest.Wait(b, allHere)
	memory, goroutines := inUse()
	endpoint := server.memory(b)
	close(goOn)
	all.Wait()
	provtest.NoGoroutineLeft(b)
	return map[string]float64{
		"kB":                (memory - memoryBefore) / 1e3,
		"goroutines":        goroutines - goroutinesBefore - 1, // of all
		"endpoint-kB":       (endpoint - endpointBefore) / 1e3,
		"endpoint-kB-after": (server.memory(b) - endpointBefore) / 1e3,
	}
}

func inUse() (memory, goroutines float64) {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc + stats.StackInuse), float64(runtime.NumGoroutine())
}
