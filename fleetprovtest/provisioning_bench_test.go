package fleetprovtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// BenchmarkProvisioning provisions devices at once, each over a connection of its
// own, as often as both sides in one process can: connect, subscribe, create,
// register. With keys of RSA it is their generation that is measured.
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
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := provisioner.Provision(b.Context(), nil); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "provisionings/s")
		})
	}
}
