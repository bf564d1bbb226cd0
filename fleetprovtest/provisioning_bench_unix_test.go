//go:build unix

package fleetprovtest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkProvisioning provisions devices at once, each over a connection of its
// own, as often as both sides in one process can: connect, subscribe, create,
// register. With keys of RSA it is their generation that is measured. It also reports
// the processor time for each device, which does not depend on what else the machine is
// doing.
func BenchmarkProvisioning(b *testing.B) {
	for _, test := range []struct {
		name   string
		option fleetprov.Option
	}{
		{"P-256", fleetprov.WithGeneratedKey()},
		{"RSA-2048", nil},
	} {
		b.Run(test.name, func(b *testing.B) {
			server := fleetprovtest.NewUnstartedServer()
			server.MaxRequests = 1
			server.Start()
			defer closeServer(b, server)
			claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
			require.NoError(b, err)
			provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim, test.option, fleetprov.WithMaxAttempts(1))
			require.NoError(b, err)
			before := processorTime(b)
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := provisioner.Provision(b.Context(), nil); err != nil {
						b.Error(err)
					}
				}
			})
			used := processorTime(b) - before
			b.ReportMetric(used.Seconds()*1e3/float64(b.N), "processor-ms/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "provisionings/s")
		})
	}
}
