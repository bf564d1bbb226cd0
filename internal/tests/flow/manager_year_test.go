package flow_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// troubles fail a part of the operations, by chance, while they are on.
type troubles struct {
	on      atomic.Bool
	chance  *rand.Rand
	strikes map[string]int // how many operations failed, of the network and of the disk
}

// strike reports whether an operation fails now.
func (t *troubles) strike(what string, part float64) bool {
	if !t.on.Load() || t.chance.Float64() >= part {
		return false
	}
	t.strikes[what]++
	return true
}

// TestAYearOfADevice lets the network, AWS and the disk fail for a day in each week, and
// one week as a whole. Certificates are good for thirty days.
func TestAYearOfADevice(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				liveAYear(t, &troubles{chance: rand.New(rand.NewPCG(seed, 0)), strikes: map[string]int{}})
			})
		})
	}
}

func liveAYear(t *testing.T, trouble *troubles) {
	m := newManager(t)
	_, err := m.Credentials(t.Context())
	require.NoError(t, err)
	m.Options = append(m.Options, fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		if trouble.strike("network", 0.5) {
			return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
		}
		return m.dial(ctx, network, address)
	}))
	m.store.Fail = func(string, string) error {
		if trouble.strike("disk", 0.1) {
			return syscall.EIO
		}
		return nil
	}
	stop := trouble.come(m.server)
	defer stop()

	var failed int
	r := m.start(t, func(ctx context.Context, c *fleetprov.Credentials) error {
		certificate, err := c.TLSCertificate()
		if !assert.NoError(t, err) {
			return err
		}
		assert.True(t, time.Now().Before(certificate.Leaf.NotAfter), "a session on one that has expired")
		select {
		case <-ctx.Done():
			assert.True(t, time.Now().Before(certificate.Leaf.NotAfter), "a session on one that has expired meanwhile")
			return ctx.Err()
		case <-time.After(time.Duration(trouble.chance.Int64N(int64(10 * day)))):
			failed++
			return errBroker
		}
	})
	after(365 * day)
	r.stop(t)
	renewals := map[string]bool{}
	for _, c := range r.sessions() {
		if c.PreviousCertificateID != "" {
			renewals[c.CertificateID] = true
		}
	}
	refused := count(m.server, fleetprovtest.OpRegisterThing) - len(renewals) - 1
	t.Logf("%d renewals, %d sessions, %d of which failed; refused by AWS: %d; failures of others: %v", len(renewals), len(r.sessions()), failed, refused, trouble.strikes)
	assert.GreaterOrEqual(t, len(renewals), 15)
	assert.LessOrEqual(t, len(renewals), 19)
	assert.Greater(t, failed, 20)
	assert.Positive(t, refused)
	assert.Positive(t, trouble.strikes["network"])
	assert.Positive(t, trouble.strikes["disk"])
	assert.Len(t, m.server.Things(), 1)
	assert.Equal(t, 1, m.claims)
}

// come makes trouble, until stop is called: on one day in seven, and from the fortieth
// day for a week. AWS fails once a day then, or at the next renewal.
func (t *troubles) come(server *fleetprovtest.Server) (stop func()) {
	over := make(chan struct{})
	go func() {
		for today := 0; ; today++ {
			t.on.Store(today%7 == 6 || today >= 40 && today < 47)
			if t.on.Load() {
				for _, op := range []fleetprovtest.Op{fleetprovtest.OpRegisterThing, fleetprovtest.OpCreateCertificateFromCSR} {
					server.Inject(op, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 429 + 71*(today%2)}})
				}
			}
			select {
			case <-time.After(day):
			case <-over:
				return
			}
		}
	}()
	return func() { close(over) }
}

// TestAFleetMadeTogether has certificates of nine hours, so that a thousand devices get
// through in seconds. With those of ninety days, three minutes here are twelve hours.
func TestAFleetMadeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 1000
		ca := testca.New("a device authority")
		began := time.Now()
		notAfter := began.Add(9 * time.Hour)
		due := make(chan time.Duration, devices)
		for i := range devices {
			store := provtest.NewMemStore()
			store.Files["credentials.pem"] = credentialsOf(t, ca, fmt.Sprintf("device-%04d", i), notAfter)
			manager := &fleetprov.Manager{Endpoint: "localhost", Template: "t", RenewTemplate: "t", RenewBefore: 3 * time.Hour,
				Store: store, Options: []fleetprov.Option{fleetprov.WithLogger(nil)}}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_ = manager.Run(ctx, func(within context.Context, _ *fleetprov.Credentials) error {
					<-within.Done()
					if errors.Is(context.Cause(within), fleetprov.ErrRenewalDue) {
						due <- time.Since(began)
					}
					cancel()
					return nil
				})
			}()
		}
		var all []time.Duration
		for range devices {
			all = append(all, <-due)
		}
		slices.Sort(all)
		assert.GreaterOrEqual(t, all[0], 6*time.Hour)
		assert.LessOrEqual(t, all[devices-1], 7*time.Hour+time.Minute)
		const parts = 20
		counts := make([]int, parts)
		for _, d := range all {
			counts[min(parts-1, int((d-6*time.Hour)*parts/time.Hour))]++
		}
		for part, count := range counts {
			assert.InDelta(t, devices/parts, count, 25, "part %d of %d", part, parts)
		}
	})
}

// credentialsOf returns the file of a thing's credentials.
func credentialsOf(t *testing.T, ca *testca.CA, thing string, notAfter time.Time) []byte {
	t.Helper()
	certificate := ca.Client(thing, testca.Validity{NotBefore: notAfter.Add(-9 * time.Hour), NotAfter: notAfter})
	c := &fleetprov.Credentials{ThingName: thing, CertificateID: thing, Endpoint: "localhost:8883",
		CertificatePEM: provtest.PEM("CERTIFICATE", certificate.Certificate[0])}
	require.NoError(t, c.SetPrivateKey(certificate.PrivateKey.(crypto.Signer)))
	data, err := c.MarshalPEM()
	require.NoError(t, err)
	return data
}
