package crash_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
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

var errPowerCut = errors.New("the power is off")

// power is a supply that is cut at one instant: before or after one operation of
// the store, or one write to or read from the network. From then on nothing has an
// effect any more, and what was under way is over.
type power struct {
	mu     sync.Mutex
	cutAt  int // the instant, from 1; 0 for never
	now    int
	off    bool
	torn   bool // a write to the store that is cut leaves half of it
	device context.CancelFunc
	conns  []net.Conn
}

// instant passes one instant and reports whether the power is still on.
func (p *power) instant() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now++; p.now == p.cutAt {
		p.off = true
		p.device()
		for _, conn := range p.conns {
			conn.Close()
		}
	}
	return !p.off
}

// justNow reports whether the last instant was the one of the cut.
func (p *power) justNow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now == p.cutAt
}

// instants are those gone by. Who is cut off may still be ending connections.
func (p *power) instants() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// poweredStore is a store on that supply.
type poweredStore struct {
	*provtest.MemStore
	power *power
}

func (s poweredStore) Get(ctx context.Context, name string) ([]byte, error) {
	if !s.power.instant() {
		return nil, errPowerCut
	}
	return s.MemStore.Get(ctx, name)
}

func (s poweredStore) Put(ctx context.Context, name string, data []byte) error {
	if !s.power.instant() {
		if s.power.torn && s.power.justNow() {
			_ = s.MemStore.Put(ctx, name, data[:len(data)/2])
		}
		return errPowerCut
	}
	return s.after(s.MemStore.Put(ctx, name, data))
}

func (s poweredStore) Delete(ctx context.Context, name string) error {
	if !s.power.instant() {
		return errPowerCut
	}
	return s.after(s.MemStore.Delete(ctx, name))
}

func (s poweredStore) after(err error) error {
	if !s.power.instant() {
		return errPowerCut
	}
	return err
}

// poweredConn is a connection on that supply.
type poweredConn struct {
	net.Conn
	power *power
}

func (c poweredConn) Write(b []byte) (int, error) {
	if !c.power.instant() {
		return 0, errPowerCut
	}
	n, err := c.Conn.Write(b)
	if !c.power.instant() {
		return 0, errPowerCut
	}
	return n, err
}

func (c poweredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.power.instant() {
		return 0, errPowerCut
	}
	return n, err
}

// world is what outlives a device's boot: AWS, and the device's flash.
type world struct {
	t        *testing.T
	server   *fleetprovtest.Server
	listener *fleetprovtest.PipeListener
	flash    *provtest.MemStore
	claim    *fleetprov.Identity
	opts     []fleetprov.Option
}

// newWorld makes one. With singleUse AWS takes a token only once.
func newWorld(t *testing.T, singleUse bool, opts ...fleetprov.Option) *world {
	return newWorldWith(t, func(s *fleetprovtest.Server) { s.SingleUseTokens = singleUse }, opts...)
}

func newWorldWith(t *testing.T, configure func(*fleetprovtest.Server), opts ...fleetprov.Option) *world {
	server, listener := provtest.NewPipeServer(t, configure)
	return &world{t, server, listener, provtest.NewMemStore(), provtest.Claim(t, server), opts}
}

// dialer dials on a supply.
func (w *world) dialer(p *power) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !p.instant() {
			return nil, errPowerCut
		}
		conn, err := w.listener.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.conns = append(p.conns, conn)
		p.mu.Unlock()
		return poweredConn{conn, p}, nil
	}
}

// provisioner is the firmware's, on a supply.
func (w *world) provisioner(p *power) *fleetprov.Provisioner {
	provisioner, err := fleetprov.New(w.server.Endpoint(), provtest.Template, w.claim,
		append(w.opts, fleetprov.WithDialer(w.dialer(p)), fleetprov.WithGeneratedKey(), fleetprov.WithVerification(), fleetprov.WithLogger(nil))...)
	require.NoError(w.t, err)
	return provisioner
}

type job func(*fleetprov.Provisioner, context.Context, fleetprov.Store, map[string]string) (*fleetprov.Credentials, error)

// boot runs job on a supply and returns how many instants it took.
func (w *world) boot(job job, p *power) (*fleetprov.Credentials, error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	p.device = cancel
	credentials, err := job(w.provisioner(p), ctx, poweredStore{w.flash, p}, map[string]string{"SerialNumber": "1"})
	<-time.After(time.Minute) // what is left of the run gives up
	return credentials, err
}

// active are the ids of the certificates the device could connect with.
func (w *world) active() []string {
	var ids []string
	for _, certificate := range w.server.Certificates() {
		if certificate.Status == "ACTIVE" {
			ids = append(ids, certificate.ID)
		}
	}
	return ids
}

// TestEnsureSurvivesEveryPowerCut cuts the power at every instant of a first boot,
// boots again from what is on the flash, and looks whether all is well.
func TestEnsureSurvivesEveryPowerCut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		torn      bool
		singleUse bool
		opts      []fleetprov.Option
	}{
		{"whole writes", false, false, nil},
		{"torn writes", true, false, nil},
		{"pipelined", false, false, []fleetprov.Option{fleetprov.WithPipelining()}},
		{"tokens that can be used once", false, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			everyInstant(t, func(t *testing.T, cutAt int) (instants int) {
				w := newWorld(t, test.singleUse, test.opts...)
				w.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: time.Second}) // the key is made by then
				p := &power{cutAt: cutAt, torn: test.torn}
				_, err := w.boot((*fleetprov.Provisioner).Ensure, p)
				if cutAt == 0 {
					require.NoError(t, err)
				}
				again, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
				require.NoError(t, err)

				assert.LessOrEqual(t, len(w.server.Certificates()), 2, "no boot asks for more than one")
				if test.torn || test.singleUse {
					// Between RegisterThing and the journal that says so, the answer is
					// lost: with a token that can be used again the registration is
					// repeated, otherwise the device is given another certificate.
					assert.Contains(t, w.active(), again.CertificateID)
					assert.LessOrEqual(t, len(w.active()), 2)
				} else {
					assert.Equal(t, []string{again.CertificateID}, w.active(), "one active certificate, and it is the device's")
				}
				assert.Len(t, w.server.Things(), 1)
				stored, err := fleetprov.LoadCredentials(t.Context(), w.flash)
				require.NoError(t, err)
				assert.Equal(t, again, stored)
				w.connects(stored)
				return p.instants()
			})
		})
	}
}

// lostAnswer is an answer to RegisterThing that never comes, and then a token that is
// not good any more.
var lostAnswer = []fleetprovtest.Fault{
	{Disconnect: true},
	{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "InvalidCertificateOwnershipToken", Message: "The token has been used"}},
}

// TestALostAnswerSurvivesEveryPowerCut: whatever is active and is not the device's is
// named, so that an operator can deactivate it.
func TestALostAnswerSurvivesEveryPowerCut(t *testing.T) {
	t.Parallel()
	everyInstant(t, func(t *testing.T, cutAt int) (instants int) {
		w := newWorld(t, false)
		for _, fault := range lostAnswer {
			w.server.Inject(fleetprovtest.OpRegisterThing, fault)
		}
		p := &power{cutAt: cutAt}
		_, err := w.boot((*fleetprov.Provisioner).Ensure, p)
		if cutAt == 0 {
			require.NoError(t, err)
		}
		again, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
		require.NoError(t, err)
		w.names(again)
		if cutAt == 0 {
			assert.Len(t, w.active(), 2)
			assert.Len(t, again.AbandonedCertificateIDs, 1)
		}
		w.connects(again)
		stored, err := fleetprov.LoadCredentials(t.Context(), w.flash)
		require.NoError(t, err)
		assert.Equal(t, again, stored)
		return p.instants()
	})
}

// TestALostAnswerOfARenewalSurvivesEveryPowerCut: the certificate that was registered
// is the renewal.
func TestALostAnswerOfARenewalSurvivesEveryPowerCut(t *testing.T) {
	t.Parallel()
	everyInstant(t, func(t *testing.T, cutAt int) (instants int) {
		w := newWorld(t, false)
		first, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
		require.NoError(t, err)
		for _, fault := range lostAnswer {
			w.server.Inject(fleetprovtest.OpRegisterThing, fault)
		}
		p := &power{cutAt: cutAt}
		_, err = w.boot((*fleetprov.Provisioner).Renew, p)
		if cutAt == 0 {
			require.NoError(t, err)
		}
		current, err := fleetprov.LoadCredentials(t.Context(), w.flash)
		require.NoError(t, err)
		if current.CertificateID == first.CertificateID {
			current, err = w.boot((*fleetprov.Provisioner).Renew, new(power))
			require.NoError(t, err)
		}
		assert.NotEqual(t, first.CertificateID, current.CertificateID)
		assert.Equal(t, first.CertificateID, current.PreviousCertificateID)
		assert.Empty(t, current.AbandonedCertificateIDs)
		assert.Equal(t, []string{first.CertificateID, current.CertificateID}, w.active())
		assert.Equal(t, first.ThingName, current.ThingName)
		w.connects(current)
		return p.instants()
	})
}

// TestExpiredCredentialsSurviveEveryPowerCut: they stay until others are stored, and
// after that as previous.pem.
func TestExpiredCredentialsSurviveEveryPowerCut(t *testing.T) {
	t.Parallel()
	everyInstant(t, func(t *testing.T, cutAt int) (instants int) {
		w := newWorld(t, false)
		certificate := testca.New("a device authority").Client("device", testca.Validity{NotAfter: time.Now()})
		expired := &fleetprov.Credentials{ThingName: "1", CertificateID: "expired", Endpoint: w.server.Endpoint(),
			CertificatePEM: provtest.PEM("CERTIFICATE", certificate.Certificate[0]), AbandonedCertificateIDs: []string{"earlier"}}
		require.NoError(t, expired.SetPrivateKey(certificate.PrivateKey.(crypto.Signer)))
		before, err := expired.MarshalPEM()
		require.NoError(t, err)
		w.flash.Files["credentials.pem"] = before
		<-time.After(time.Minute)

		p := &power{cutAt: cutAt}
		_, err = w.boot((*fleetprov.Provisioner).Ensure, p)
		if cutAt == 0 {
			require.NoError(t, err)
		}
		_, err = fleetprov.LoadCredentials(t.Context(), w.flash)
		require.NoError(t, err, "there is never nothing to boot with")
		again, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
		require.NoError(t, err)
		assert.Equal(t, "expired", again.PreviousCertificateID)
		assert.Equal(t, before, w.flash.Files["previous.pem"])
		assert.Contains(t, again.AbandonedCertificateIDs, "earlier", "what they named is named still")
		w.names(again)
		w.connects(again)
		stored, err := fleetprov.LoadCredentials(t.Context(), w.flash)
		require.NoError(t, err)
		assert.Equal(t, again, stored)
		return p.instants()
	})
}

// TestRenewSurvivesEveryPowerCut does the same for a renewal. At no instant may the
// device be without credentials that work.
func TestRenewSurvivesEveryPowerCut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ torn, singleUse bool }{
		"whole writes":                 {},
		"torn writes":                  {torn: true},
		"tokens that can be used once": {singleUse: true},
	} {
		t.Run(name, func(t *testing.T) {
			torn, singleUse := test.torn, test.singleUse
			everyInstant(t, func(t *testing.T, cutAt int) (instants int) {
				w := newWorld(t, singleUse)
				first, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
				require.NoError(t, err)
				before := bytes.Clone(w.flash.Files["credentials.pem"])

				p := &power{cutAt: cutAt, torn: torn}
				_, err = w.boot((*fleetprov.Provisioner).Renew, p)
				if cutAt == 0 {
					require.NoError(t, err)
				}
				current, err := fleetprov.LoadCredentials(t.Context(), w.flash)
				if err != nil && torn {
					// A store that tears lost the file in the making; what was in
					// it is kept.
					assert.Equal(t, before, w.flash.Files["previous.pem"])
					return p.instants()
				}
				require.NoError(t, err)
				w.connects(current)

				if current.CertificateID == first.CertificateID {
					current, err = w.boot((*fleetprov.Provisioner).Renew, new(power))
					require.NoError(t, err)
				}
				assert.NotEqual(t, first.CertificateID, current.CertificateID)
				assert.Equal(t, first.CertificateID, current.PreviousCertificateID)
				assert.Equal(t, before, w.flash.Files["previous.pem"])
				if singleUse {
					assert.Contains(t, w.active(), first.CertificateID)
					assert.Contains(t, w.active(), current.CertificateID)
					assert.LessOrEqual(t, len(w.active()), 3, "one whose answer was lost")
				} else if !torn {
					assert.Equal(t, []string{first.CertificateID, current.CertificateID}, w.active())
				}
				w.connects(current)
				return p.instants()
			})
		})
	}
}

// everyInstant runs try once with the power on, and then with a cut at each of the
// instants that took. The race detector makes that several times as long, and looks for
// something else: with it, every third instant has to do.
func everyInstant(t *testing.T, try func(t *testing.T, cutAt int) (instants int)) {
	t.Helper()
	var instants int
	synctest.Test(t, func(t *testing.T) { instants = try(t, 0) })
	require.Greater(t, instants, 50)
	step := 1
	if provtest.Race {
		step = 3
	}
	for cutAt := 1 + rand.IntN(step); cutAt <= instants; cutAt += step {
		t.Run(fmt.Sprint("cut at ", cutAt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { try(t, cutAt) })
		})
	}
	t.Logf("%d instants", instants)
}

// names shows that each certificate that is active is the device's, or is named by its
// credentials.
func (w *world) names(c *fleetprov.Credentials) {
	w.t.Helper()
	for _, id := range w.active() {
		assert.Contains(w.t, append([]string{c.CertificateID, c.PreviousCertificateID}, c.AbandonedCertificateIDs...), id)
	}
}

// connects shows that the endpoint takes the credentials: it provisions with them.
func (w *world) connects(c *fleetprov.Credentials) {
	w.t.Helper()
	certificate, err := c.TLSCertificate()
	require.NoError(w.t, err)
	identity, err := fleetprov.NewIdentity(certificate, c.Roots...)
	require.NoError(w.t, err)
	provisioner, err := fleetprov.New(w.server.Endpoint(), "no-such-template", identity, fleetprov.WithDialer(w.listener.Dial), fleetprov.WithMaxAttempts(1), fleetprov.WithGeneratedKey())
	require.NoError(w.t, err)
	_, err = provisioner.Provision(w.t.Context(), nil)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(w.t, err, &rejected, "it got as far as registering")
	require.Equal(w.t, 404, rejected.StatusCode)
}
