package flow_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
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

// serial is what every device here registers with.
var serial = map[string]string{"SerialNumber": "pump-1"}

// A certificate that works only a while after its registration is waited for, however AWS
// refuses it until then.
func TestVerificationAndRenewalWaitForActivation(t *testing.T) {
	for name, refusal := range map[string]fleetprovtest.Refusal{
		"closed without a word":    fleetprovtest.RefuseByClosing,
		"refused with a CONNACK":   fleetprovtest.RefuseByConnack,
		"refused in the handshake": fleetprovtest.RefuseInHandshake,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) {
					s.ActivationLag, s.Refusal = 25*time.Second, refusal
				})
				opts := []fleetprov.Option{fleetprov.WithDialer(listener.Dial), fleetprov.WithVerification(), fleetprov.WithStepTimeout(time.Minute), provtest.OneAttempt}
				store := provtest.NewMemStore()
				began := time.Now()
				first, err := provtest.NewProvisioner(t, server, opts...).Ensure(t.Context(), store, serial)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, time.Since(began), 25*time.Second)
				assert.Len(t, server.Certificates(), 1, "one is enough")

				<-time.After(10 * time.Second) // what connections under one client id are apart
				identity, err := first.Identity()
				require.NoError(t, err)
				renewer, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, opts...)
				require.NoError(t, err)
				renewed, err := renewer.Renew(t.Context(), store, serial)
				require.NoError(t, err)
				assert.NotEqual(t, first.CertificateID, renewed.CertificateID)
				assert.Len(t, server.Certificates(), 2)
			})
		})
	}
}

// A lag that outlasts the step leaves a boot without verified credentials, but not without
// credentials, and the next boot goes on from there.
func TestActivationThatOutlastsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) { s.ActivationLag = 5 * time.Minute })
		provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(listener.Dial), fleetprov.WithVerification(), provtest.OneAttempt)
		store := provtest.NewMemStore()
		early, err := provisioner.Ensure(t.Context(), store, serial)
		var failure *fleetprov.Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, fleetprov.OpVerify, failure.Op)
		assert.ErrorIs(t, err, fleetprov.ErrClosedOnConnect)
		assert.True(t, fleetprov.Retryable(err))
		require.NotNil(t, early)

		<-time.After(5 * time.Minute)
		late, err := provisioner.Ensure(t.Context(), store, serial)
		require.NoError(t, err)
		assert.Equal(t, early.CertificateID, late.CertificateID)
		assert.Len(t, server.Certificates(), 1)
	})
}

// A lag that outlasts the step of a renewal leaves the device its old credentials, and the
// next Renew goes on with the certificate that AWS has made.
func TestRenewalWhoseActivationOutlastsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) { s.ActivationLag = 3 * time.Minute })
		dial := fleetprov.WithDialer(listener.Dial)
		store := provtest.NewMemStore()
		old, err := provtest.NewProvisioner(t, server, dial).Ensure(t.Context(), store, serial)
		require.NoError(t, err)
		<-time.After(3 * time.Minute)

		identity, err := old.Identity()
		require.NoError(t, err)
		renewer, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, dial, provtest.OneAttempt)
		require.NoError(t, err)
		early, err := renewer.Renew(t.Context(), store, serial)
		var failure *fleetprov.Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, fleetprov.OpVerify, failure.Op)
		assert.ErrorIs(t, err, fleetprov.ErrClosedOnConnect)
		assert.True(t, fleetprov.Retryable(err))
		require.NotNil(t, early)
		stored, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, old, stored)
		<-time.After(10 * time.Second) // what connections under one client id are apart
		assertConnectsOver(t, listener.Dial, server, stored)

		<-time.After(3 * time.Minute)
		late, err := renewer.Renew(t.Context(), store, serial)
		require.NoError(t, err)
		assert.Equal(t, early.CertificateID, late.CertificateID)
		assert.Equal(t, old.CertificateID, late.PreviousCertificateID)
		assert.Empty(t, late.AbandonedCertificateIDs)
		assert.Len(t, server.Certificates(), 2)
		assert.Equal(t, 2, count(server, fleetprovtest.OpRegisterThing))
		assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, store.Names())
		<-time.After(10 * time.Second)
		assertConnectsOver(t, listener.Dial, server, late)
	})
}

// A Manager whose renewal meets such a lag goes on with the old certificate, and renews
// with the one that AWS has made.
func TestManagersRenewalWhoseActivationOutlastsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManagerFor(t, func(s *fleetprovtest.Server) { s.ActivationLag = 3 * time.Minute })
		first, err := m.Credentials(t.Context())
		require.NoError(t, err)
		after(3 * time.Minute)

		var connected []string // by each session, the ids of its certificate
		r := m.start(t, func(ctx context.Context, c *fleetprov.Credentials) error {
			select {
			case <-time.After(10 * time.Second): // what connections under one client id are apart
			case <-ctx.Done():
				return ctx.Err()
			}
			assertConnectsOver(t, m.dial, m.server, c)
			connected = append(connected, c.CertificateID)
			return sitting(ctx, c)
		})
		after(time.Hour)
		m.RequestRenewal()
		after(time.Minute)
		assert.Equal(t, []string{first.CertificateID, first.CertificateID}, connected, "it works on with what it had")
		after(2 * time.Hour)
		r.stop(t)

		require.Len(t, m.server.Certificates(), 2)
		renewed := m.server.Certificates()[1].ID
		assert.Equal(t, []string{first.CertificateID, first.CertificateID, renewed}, connected)
		assert.Equal(t, 2, count(m.server, fleetprovtest.OpRegisterThing))
		assert.Equal(t, 1, m.claims)
		last := r.sessions()[2]
		assert.Equal(t, first.CertificateID, last.PreviousCertificateID)
		assert.Empty(t, last.AbandonedCertificateIDs)
		assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, m.store.Names())
	})
}

// deviceConnects shows that a device can connect with credentials: it subscribes as far
// as a template that does not exist.
func deviceConnects(t *testing.T, credentials *fleetprov.Credentials, dial fleetprov.Option) {
	t.Helper()
	identity, err := credentials.Identity()
	require.NoError(t, err)
	p, err := fleetprov.New(credentials.Endpoint, "no-such-template", identity, dial, fleetprov.WithGeneratedKey(), provtest.OneAttempt)
	require.NoError(t, err)
	_, err = p.Provision(t.Context(), nil)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected, "it gets as far as registering")
	assert.Equal(t, 404, rejected.StatusCode)
}

// An account with a certificate provider issues certificates of its owner's: with another
// subject and issuer, a chain, and a short life.
func TestCertificatesOfAProvider(t *testing.T) {
	for name, opts := range map[string][]fleetprov.Option{
		"in JSON": {fleetprov.WithGeneratedKey()},
		"in CBOR": {fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				require.NoError(t, err)
				owner := testca.New("the owner's root").Intermediate(pkix.Name{CommonName: "the owner's fleet"}, key)
				server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) {
					s.SignCSR = func(request *x509.CertificateRequest) ([]byte, error) {
						leaf, err := owner.Issue("pump", testca.Validity{NotAfter: time.Now().Add(24 * time.Hour)}, request.PublicKey)
						if err != nil {
							return nil, err
						}
						text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
						return append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: owner.Certificate().Raw})...), nil
					}
				})
				dial := fleetprov.WithDialer(listener.Dial)
				opts := append(opts, dial, fleetprov.WithVerification(), provtest.OneAttempt)
				store := provtest.NewMemStore()
				first, err := provtest.NewProvisioner(t, server, opts...).Ensure(t.Context(), store, serial)
				require.NoError(t, err)
				certificate, err := first.TLSCertificate()
				require.NoError(t, err)
				assert.Equal(t, "pump", certificate.Leaf.Subject.CommonName)
				assert.Len(t, certificate.Certificate, 2, "the chain is kept, and sent")
				assert.Equal(t, server.Certificates()[0].ID, first.CertificateID)

				stored, err := fleetprov.LoadCredentials(t.Context(), store)
				require.NoError(t, err)
				assert.Equal(t, first, stored)
				<-time.After(10 * time.Second)
				deviceConnects(t, stored, dial)

				<-time.After(23 * time.Hour) // it is time to renew
				identity, err := stored.Identity()
				require.NoError(t, err)
				renewer, err := fleetprov.New(stored.Endpoint, provtest.Template, identity, opts...)
				require.NoError(t, err)
				renewed, err := renewer.Renew(t.Context(), store, serial)
				require.NoError(t, err)
				assert.NotEqual(t, first.CertificateID, renewed.CertificateID)

				<-time.After(2 * time.Hour) // the old one has expired
				deviceConnects(t, renewed, dial)
				again, err := provtest.NewProvisioner(t, server, opts...).Ensure(t.Context(), store, serial)
				require.NoError(t, err)
				assert.Equal(t, renewed.CertificateID, again.CertificateID, "Ensure finds it, and asks for nothing")

				<-time.After(24 * time.Hour) // the new one has, too, and nobody has renewed it
				replaced, err := provtest.NewProvisioner(t, server, opts...).Ensure(t.Context(), store, serial)
				require.NoError(t, err)
				assert.NotEqual(t, renewed.CertificateID, replaced.CertificateID)
			})
		})
	}
}

// Certificates of AWS's own may be short-lived, too.
func TestCertificatesThatLiveForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t, func(s *fleetprovtest.Server) { s.CertificateValidity = 24 * time.Hour })
		dial := fleetprov.WithDialer(listener.Dial)
		store := provtest.NewMemStore()
		first, err := provtest.NewProvisioner(t, server, dial, fleetprov.WithGeneratedKey()).Ensure(t.Context(), store, serial)
		require.NoError(t, err)
		<-time.After(23 * time.Hour)
		deviceConnects(t, first, dial)
		<-time.After(2 * time.Hour)
		second, err := provtest.NewProvisioner(t, server, dial, fleetprov.WithGeneratedKey()).Ensure(t.Context(), store, serial)
		require.NoError(t, err)
		assert.NotEqual(t, first.CertificateID, second.CertificateID)
	})
}
