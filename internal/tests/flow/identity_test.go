package flow_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
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

func TestLoadPFXReadsAndParses(t *testing.T) {
	server := provtest.NewServer(t)
	path := filepath.Join(t.TempDir(), "claim_identity.pfx")
	require.NoError(t, os.WriteFile(path, server.ClaimPFX(provtest.Password), 0o600))

	claim, err := fleetprov.LoadPFX(path, provtest.Password)
	require.NoError(t, err)
	assert.Equal(t, provtest.Claim(t, server), claim)
	assert.Equal(t, server.ClaimCertificate().Leaf, claim.Certificate())
}

func TestFilesThatAreNoClaim(t *testing.T) {
	server := provtest.NewServer(t)
	pfx := server.ClaimPFX(provtest.Password)
	for name, test := range map[string]struct {
		data     []byte
		password string
		is       error
	}{
		"a wrong password":      {pfx, "another", fleetprov.ErrIncorrectPassword},
		"a password left out":   {pfx, "", fleetprov.ErrIncorrectPassword},
		"an empty file":         {[]byte{}, provtest.Password, nil},
		"a text":                {[]byte("Dear customer,\n"), provtest.Password, nil},
		"a certificate alone":   {provtest.PEM("CERTIFICATE", server.ClaimCertificate().Leaf.Raw), provtest.Password, nil},
		"the first half of one": {pfx[:len(pfx)/2], provtest.Password, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "claim_identity.pfx")
			require.NoError(t, os.WriteFile(path, test.data, 0o600))

			parsed, err := fleetprov.ParsePFX(test.data, test.password)
			require.Error(t, err)
			assert.Nil(t, parsed)
			loaded, loadErr := fleetprov.LoadPFX(path, test.password)
			require.Error(t, loadErr)
			assert.Nil(t, loaded)
			assert.Contains(t, loadErr.Error(), path, "the file is named")
			for _, err := range []error{err, loadErr} {
				if test.is != nil {
					assert.ErrorIs(t, err, test.is)
				} else {
					assert.NotErrorIs(t, err, fleetprov.ErrIncorrectPassword)
				}
				assert.NotContains(t, err.Error(), provtest.Password)
				assert.NotContains(t, err.Error(), "\n")
				assert.False(t, fleetprov.Retryable(err))
			}
		})
	}
}

func TestErrorsOfTheFileSystemSurvive(t *testing.T) {
	claim, err := fleetprov.LoadPFX(filepath.Join(t.TempDir(), "missing.pfx"), provtest.Password)
	assert.Nil(t, claim)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "missing.pfx")

	claim, err = fleetprov.LoadPFX(t.TempDir(), provtest.Password)
	assert.Nil(t, claim)
	var failure *fs.PathError
	assert.ErrorAs(t, err, &failure, "a directory")
}

// The file holds a private key, its certificate, the intermediate that issued
// it, and the root of the server.
func TestRootsOfThePFXNeverTravelInTheClientChain(t *testing.T) {
	claim, err := fleetprov.LoadPFX(provtest.Root(t, "internal/pfx/testdata/chain-intermediate-rootca.p12"), "secret")
	require.NoError(t, err)
	assert.Equal(t, "AWS IoT Certificate", claim.Certificate().Subject.CommonName)
	require.Len(t, claim.Roots(), 1)
	assert.Equal(t, "Amazon Root CA 1", claim.Roots()[0].Subject.CommonName)

	var sent identityChain
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, VerifyPeerCertificate: sent.record}
	server.Start()
	defer server.Close()
	provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claim, fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt)
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.ErrorIs(t, err, fleetprov.ErrClosedOnConnect, "the server has not issued this claim")
	assert.Equal(t, []string{"AWS IoT Certificate", "Private Intermediate"}, sent.names())

	require.Len(t, provtest.Claim(t, server).Roots(), 1)
	_, err = provtest.NewProvisioner(t, server).Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"AWS IoT Certificate"}, sent.names())
}

// identityChain remembers the certificates that the last client sent.
type identityChain struct {
	mu    sync.Mutex
	chain []*x509.Certificate
}

func (c *identityChain) record(raw [][]byte, _ [][]*x509.Certificate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chain = nil
	for _, der := range raw {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		c.chain = append(c.chain, certificate)
	}
	return nil
}

func (c *identityChain) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, certificate := range c.chain {
		names = append(names, certificate.Subject.CommonName)
	}
	return names
}

func TestRootsOfTheClaimAreTrusted(t *testing.T) {
	server := provtest.NewServer(t)
	root, err := x509.ParseCertificate(identityServerRoot(t, server))
	require.NoError(t, err)

	withRoot, err := fleetprov.NewIdentity(server.ClaimCertificate(), root)
	require.NoError(t, err)
	without, err := fleetprov.NewIdentity(server.ClaimCertificate())
	require.NoError(t, err)
	for name, test := range map[string]struct {
		claim   *fleetprov.Identity
		opts    []fleetprov.Option
		trusted bool
	}{
		"of a PFX":                        {provtest.Claim(t, server), nil, true},
		"given to NewIdentity":            {withRoot, nil, true},
		"not there":                       {without, nil, false},
		"given to WithRootCAs":            {without, []fleetprov.Option{fleetprov.WithRootCAs(server.RootCAs())}, true},
		"replaced by WithRootCAs":         {withRoot, []fleetprov.Option{fleetprov.WithRootCAs(x509.NewCertPool())}, false},
		"given to WithTLSConfig":          {without, []fleetprov.Option{fleetprov.WithTLSConfig(&tls.Config{RootCAs: server.RootCAs()})}, true},
		"replaced by those of the config": {withRoot, []fleetprov.Option{fleetprov.WithTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()})}, false},
		"of WithRootCAs before the config": {without, []fleetprov.Option{
			fleetprov.WithRootCAs(server.RootCAs()), fleetprov.WithTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()})}, true},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, test.claim, append(test.opts, provtest.OneAttempt)...)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			if test.trusted {
				assert.NoError(t, err)
				return
			}
			assert.ErrorAs(t, err, new(x509.UnknownAuthorityError))
			assert.False(t, fleetprov.Retryable(err))
		})
	}
}

// identityServerRoot returns the root that comes with the claim of server.
func identityServerRoot(t *testing.T, server *fleetprovtest.Server) []byte {
	t.Helper()
	roots := provtest.Claim(t, server).Roots()
	require.Len(t, roots, 1)
	return roots[0].Raw
}

func TestRootsAreTheCallersOwn(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	claim.Roots()[0] = nil
	assert.NotNil(t, claim.Roots()[0])
}

func TestIdentityOfAnyOrigin(t *testing.T) {
	server := provtest.NewServer(t)
	claim := server.ClaimCertificate()
	root, err := x509.ParseCertificate(identityServerRoot(t, server))
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(claim.PrivateKey)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(provtest.PEM("CERTIFICATE", claim.Leaf.Raw), provtest.PEM("PRIVATE KEY", key))
	require.NoError(t, err)

	for name, certificate := range map[string]tls.Certificate{
		"a pair of PEM files":           pair,
		"a key that cannot be exported": {Certificate: claim.Certificate, PrivateKey: provtest.HardwareKey{Signer: claim.PrivateKey.(crypto.Signer)}},
		"a leaf that is another's": {Certificate: claim.Certificate, PrivateKey: claim.PrivateKey,
			Leaf: testca.New("another").Certificate()},
	} {
		t.Run(name, func(t *testing.T) {
			identity, err := fleetprov.NewIdentity(certificate, root)
			require.NoError(t, err)
			assert.Equal(t, claim.Leaf.Raw, identity.Certificate().Raw)
			provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, identity)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assert.NoError(t, err)
		})
	}
}

func TestIdentitiesThatAreNone(t *testing.T) {
	claim := testca.New("a root").Client("claim", testca.Validity{})
	another, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		certificate tls.Certificate
		roots       []*x509.Certificate
		says        string
	}{
		"an empty one":                    {tls.Certificate{}, nil, "no certificate"},
		"one without a key":               {tls.Certificate{Certificate: claim.Certificate}, nil, "not a crypto.Signer"},
		"one with bytes for a key":        {tls.Certificate{Certificate: claim.Certificate, PrivateKey: []byte("key")}, nil, "not a crypto.Signer"},
		"one with another's key":          {tls.Certificate{Certificate: claim.Certificate, PrivateKey: another}, nil, "does not belong"},
		"one whose key has no half":       {tls.Certificate{Certificate: claim.Certificate, PrivateKey: provtest.HardwareKey{Signer: identityBlank{}}}, nil, "does the hardware answer?"},
		"one that is no certificate":      {tls.Certificate{Certificate: [][]byte{{1, 2, 3}}, PrivateKey: claim.PrivateKey}, nil, "certificate"},
		"one with a root that is no root": {claim, []*x509.Certificate{nil}, "root certificate is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			identity, err := fleetprov.NewIdentity(test.certificate, test.roots...)
			assert.Nil(t, identity)
			assert.ErrorContains(t, err, test.says)
			assert.Equal(t, test.says == "does not belong", errors.Is(err, fleetprov.ErrKeyMismatch))
		})
	}
}

// identityBlank is a signer whose driver has lost its token.
type identityBlank struct{ crypto.Signer }

func (identityBlank) Public() crypto.PublicKey { return nil }

func TestIdentityZeroValue(t *testing.T) {
	identity := new(fleetprov.Identity)
	assert.Nil(t, identity.Certificate())
	assert.Empty(t, identity.Roots())
	for _, claim := range []*fleetprov.Identity{identity, nil} {
		_, err := fleetprov.New("localhost", provtest.Template, claim)
		assert.ErrorContains(t, err, "there is no claim")
	}
}

func TestValidityOfTheClaimIsJudgedBeforeDialling(t *testing.T) {
	server := provtest.NewServer(t) // its claim is valid until the end of 2049
	notAfter := server.ClaimCertificate().Leaf.NotAfter
	notBefore := server.ClaimCertificate().Leaf.NotBefore
	for name, test := range map[string]struct {
		now       time.Time
		is        error
		retryable bool
		says      string
	}{
		"a claim that has expired":   {notAfter.Add(time.Second), nil, false, "expired on 2049-12-31T23:59:59Z"},
		"a clock that was never set": {time.Date(1970, time.January, 1, 0, 0, 9, 0, time.UTC), fleetprov.ErrClock, true, "it is 1970-01-01T00:00:09Z"},
		"a clock that is a bit late": {notBefore.Add(-time.Second), fleetprov.ErrClock, true, notBefore.UTC().Format(time.RFC3339)},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &tls.Config{Time: func() time.Time { return test.now }}
			provisioner := provtest.NewProvisioner(t, server, noDial(t), fleetprov.WithTLSConfig(clock), provtest.OneAttempt)
			credentials, err := provisioner.Provision(provtest.Context(t), nil)
			assert.Nil(t, credentials)
			assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			} else {
				assert.NotErrorIs(t, err, fleetprov.ErrClock)
			}
			var invalid x509.CertificateInvalidError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, x509.Expired, invalid.Reason)
			assert.Equal(t, test.retryable, fleetprov.Retryable(err))
			assert.ErrorContains(t, err, test.says)
		})
	}
	// The certificate of the server may be a little younger.
	for _, now := range []time.Time{notBefore.Add(time.Minute), notAfter.Add(-time.Minute)} {
		clock := &tls.Config{Time: func() time.Time { return now }, RootCAs: server.RootCAs()}
		_, err := provtest.NewProvisioner(t, server, fleetprov.WithTLSConfig(clock), provtest.OneAttempt).Provision(provtest.Context(t), nil)
		assert.NoError(t, err, "the claim is valid at %v", now)
	}
}

// The claims that AWS issues to a trusted user live for five minutes (AWS
// developer guide, "provision-wo-cert").
func TestAClaimThatEndsEndsTheRun(t *testing.T) {
	hang := fleetprov.WithDialer(identityHang)
	for name, opts := range map[string][]fleetprov.Option{
		"while dialling":            {hang, fleetprov.WithStepTimeout(time.Hour)},
		"before the step's timeout": {hang, fleetprov.WithStepTimeout(20*time.Second + time.Millisecond), provtest.OneAttempt},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				certificate := testca.New("a root").Client("claim", testca.Validity{NotAfter: began.Add(20 * time.Second)})
				claim, err := fleetprov.NewIdentity(certificate)
				require.NoError(t, err)
				provisioner, err := fleetprov.New("endpoint.example", provtest.Template, claim, opts...)
				require.NoError(t, err)

				_, err = provisioner.Provision(t.Context(), nil)
				assert.Equal(t, 20*time.Second, time.Since(began))
				assertOp(t, fleetprovtest.OpConnect, err)
				var invalid x509.CertificateInvalidError
				require.ErrorAs(t, err, &invalid)
				assert.Equal(t, certificate.Leaf.Raw, invalid.Cert.Raw)
				assert.False(t, fleetprov.Retryable(err), "%v", err)
				assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "no step ran out of time")
			})
		})
	}
}

func identityHang(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A server's hint at the authorities it knows would keep crypto/tls from
// presenting a certificate that another one issued.
func TestTheClaimIsPresentedWhateverTheServersHint(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.TLS = &tls.Config{ClientCAs: testca.New("another authority").Pool(), MaxVersion: version}
			server.Start()
			defer server.Close()
			_, err := provtest.NewProvisioner(t, server).Provision(provtest.Context(t), nil)
			assert.NoError(t, err)
		})
	}
}
