package flow_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestGeneratedKeyStaysOnTheDevice(t *testing.T) {
	server := provtest.NewServer(t)
	provisioner := provtest.NewProvisioner(t, server, fleetprov.WithGeneratedKey())
	credentials, err := provisioner.Provision(provtest.Context(t), map[string]string{"SerialNumber": "12345"})
	require.NoError(t, err)

	block, rest := pem.Decode(credentials.PrivateKeyPEM())
	require.NotNil(t, block)
	assert.Empty(t, rest)
	assert.Equal(t, "PRIVATE KEY", block.Type)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	key, ok := parsed.(*ecdsa.PrivateKey)
	require.True(t, ok)
	assert.Equal(t, elliptic.P256(), key.Curve)
	assert.True(t, key.PublicKey.Equal(server.Certificates()[0].Certificate.PublicKey), "the certificate is for this key")

	requests := server.Requests()
	require.Len(t, requests, 4)
	assert.ElementsMatch(t, []string{
		"$aws/certificates/create-from-csr/json/accepted",
		"$aws/certificates/create-from-csr/json/rejected",
		"$aws/provisioning-templates/test-template/provision/json/accepted",
		"$aws/provisioning-templates/test-template/provision/json/rejected",
	}, requests[1].Filters)
	assert.Equal(t, "$aws/certificates/create-from-csr/json", requests[2].Topic)
	assert.Equal(t, "$aws/provisioning-templates/test-template/provision/json", requests[3].Topic)

	var request map[string]string
	require.NoError(t, json.Unmarshal(requests[2].Payload, &request))
	require.Len(t, request, 1)
	csr, rest := pem.Decode([]byte(request["certificateSigningRequest"]))
	require.NotNil(t, csr)
	assert.Empty(t, rest)
	assert.Equal(t, "CERTIFICATE REQUEST", csr.Type)
	secrets := secretsOf(t, key)
	for _, request := range requests {
		assert.Empty(t, secrets.in(string(request.Payload)), request.Op)
	}
	assert.Empty(t, secrets.in(fmt.Sprintf("%x %s", csr.Bytes, csr.Bytes)))
}

func TestEachRunHasAKeyOfItsOwn(t *testing.T) {
	provisioner := provtest.NewProvisioner(t, provtest.NewServer(t), fleetprov.WithGeneratedKey())
	one, err := provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	other, err := provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.NotEqual(t, one.PrivateKeyPEM(), other.PrivateKeyPEM())
}

func TestPrivateKeysOfTheCaller(t *testing.T) {
	server := provtest.NewServer(t)
	for name, key := range devicekeyAccepted(t) {
		t.Run(name, func(t *testing.T) {
			credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(key)).Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			pair, err := tls.X509KeyPair(credentials.CertificatePEM, credentials.PrivateKeyPEM())
			require.NoError(t, err, "the two belong together")
			assert.Equal(t, key, pair.PrivateKey)
			assertConnects(t, server, credentials)
		})
		t.Run(name+" in hardware", func(t *testing.T) {
			token := provtest.HardwareKey{Signer: key}
			credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(token)).Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			assert.Nil(t, credentials.PrivateKeyPEM())
			certificate, err := credentials.TLSCertificate()
			require.NoError(t, err)
			assert.Equal(t, token, certificate.PrivateKey)
			assertConnects(t, server, credentials)
		})
	}
}

// devicekeyAccepted returns a key of each kind AWS IoT takes (AWS IoT API
// reference, CreateCertificateFromCsr).
func devicekeyAccepted(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	keys := make(map[string]crypto.Signer)
	generated, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	// A key that was read may differ, in zeros in front of its numbers.
	key, err := x509.ParsePKCS1PrivateKey(x509.MarshalPKCS1PrivateKey(generated))
	require.NoError(t, err)
	keys["RSA 2048"] = key
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		keys[curve.Params().Name] = key
	}
	return keys
}

func TestPrivateKeysThatAWSRefuses(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	const rule = "AWS IoT takes RSA of at least 2048 bits, P-256, P-384 and P-521"
	const once = "WithGeneratedKey, WithPrivateKey and WithKeyring exclude each other"
	for name, test := range map[string]struct {
		opts []fleetprov.Option
		says []string
	}{
		"RSA of 1024 bits":        {[]fleetprov.Option{fleetprov.WithPrivateKey(short)}, []string{"RSA of 1024 bits", rule}},
		"P-224":                   {[]fleetprov.Option{fleetprov.WithPrivateKey(curve)}, []string{"P-224", rule}},
		"Ed25519":                 {[]fleetprov.Option{fleetprov.WithPrivateKey(edwards)}, []string{"Ed25519", rule}},
		"Ed25519 in hardware":     {[]fleetprov.Option{fleetprov.WithPrivateKey(provtest.HardwareKey{Signer: edwards})}, []string{"Ed25519", rule}},
		"a token without a key":   {[]fleetprov.Option{fleetprov.WithPrivateKey(provtest.HardwareKey{Signer: identityBlank{}})}, []string{rule}},
		"nil":                     {[]fleetprov.Option{fleetprov.WithPrivateKey(nil)}, []string{"private key is nil"}},
		"a nil pointer":           {[]fleetprov.Option{fleetprov.WithPrivateKey((*ecdsa.PrivateKey)(nil))}, []string{"private key is nil"}},
		"two sources":             {[]fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithPrivateKey(good)}, []string{once}},
		"two, the other way":      {[]fleetprov.Option{fleetprov.WithPrivateKey(good), fleetprov.WithGeneratedKey()}, []string{once}},
		"two keys":                {[]fleetprov.Option{fleetprov.WithPrivateKey(good), fleetprov.WithPrivateKey(good)}, []string{once}},
		"two, the first one bad":  {[]fleetprov.Option{fleetprov.WithPrivateKey(short), fleetprov.WithGeneratedKey()}, []string{once, "RSA of 1024 bits"}},
		"two, the second one bad": {[]fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithPrivateKey(edwards)}, []string{once, "Ed25519"}},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner, err := fleetprov.New("localhost", provtest.Template, claim, test.opts...)
			assert.Nil(t, provisioner)
			for _, says := range test.says {
				assert.ErrorContains(t, err, says)
			}
		})
	}
}

// devicekeySigner is a key in hardware that a test watches.
type devicekeySigner struct {
	crypto.Signer
	sign func() error // called before each signature
}

func (s *devicekeySigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.sign(); err != nil {
		return nil, err
	}
	return s.Signer.Sign(random, digest, opts)
}

func devicekeyP256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func TestKeyThatDoesNotSign(t *testing.T) {
	server := provtest.NewServer(t)
	locked := errors.New("the token is locked")
	key := &devicekeySigner{devicekeyP256(t), func() error { return locked }}
	credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(key), provtest.OneAttempt).Provision(provtest.Context(t), nil)
	assert.Nil(t, credentials)
	assertOp(t, fleetprovtest.OpCreateCertificateFromCSR, err)
	assert.ErrorIs(t, err, locked)
	assert.ErrorContains(t, err, "the device's private key")
	assert.False(t, fleetprov.Retryable(err))
	assert.NotErrorIs(t, err, fleetprov.ErrConnectionLost)
	for _, blame := range []string{"network", "policy", "connection"} {
		assert.NotContains(t, err.Error(), blame)
	}
	assert.Empty(t, server.Certificates(), "nothing was asked for")
	provtest.NoGoroutineLeft(t)
}

// A certificate signing request alone would pass, and the device could not connect with
// the certificate that it gets.
func TestRSAKeyWithoutPSS(t *testing.T) {
	server := provtest.NewServer(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	mechanism := errors.New("CKR_MECHANISM_INVALID")
	provisioner := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(&pkcs1Key{rsaKey, mechanism}), provtest.OneAttempt)
	credentials, err := provisioner.Provision(provtest.Context(t), nil)
	assert.Nil(t, credentials)
	assertOp(t, fleetprovtest.OpCreateCertificateFromCSR, err)
	assert.ErrorIs(t, err, mechanism)
	assert.ErrorContains(t, err, "the device's private key: TLS 1.3 needs RSA-PSS")
	assert.False(t, fleetprov.Retryable(err))
	assert.NotErrorIs(t, err, fleetprov.ErrConnectionLost)
	assert.Empty(t, server.Certificates(), "nothing was asked for")
}

// pkcs1Key is a key in a token that knows PKCS #1 signatures only.
type pkcs1Key struct {
	crypto.Signer
	says error
}

func (k *pkcs1Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss {
		return nil, k.says
	}
	return k.Signer.Sign(random, digest, opts)
}

func TestKeyThatTakesForEver(t *testing.T) {
	server := provtest.NewServer(t)
	ctx, cancel := context.WithCancel(provtest.Context(t))
	release := make(chan struct{})
	defer close(release)
	key := &devicekeySigner{devicekeyP256(t), func() error { <-release; return nil }}
	provisioner := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(key), provtest.OneAttempt,
		fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Op == fleetprov.OpCreateCertificateFromCSR {
				cancel()
			}
		}))
	_, err := provisioner.Provision(ctx, nil)
	assertOp(t, fleetprovtest.OpCreateCertificateFromCSR, err)
	assert.ErrorIs(t, err, context.Canceled)
}

// The dialer does not return before the key has signed.
func TestKeyIsMadeWhileTheConnectionIsBeingOpened(t *testing.T) {
	server := provtest.NewServer(t)
	signed := make(chan struct{})
	var once sync.Once
	key := &devicekeySigner{devicekeyP256(t), func() error { once.Do(func() { close(signed) }); return nil }}
	provisioner := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(key),
		fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			select {
			case <-signed:
				return new(net.Dialer).DialContext(ctx, network, address)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}))
	_, err := provisioner.Provision(provtest.Context(t), nil)
	assert.NoError(t, err)
}

// The key does not sign before the dialer is called.
func TestTheConnectionIsOpenedWhileTheKeyIsMade(t *testing.T) {
	server := provtest.NewServer(t)
	dialled := make(chan struct{})
	var once sync.Once
	key := &devicekeySigner{devicekeyP256(t), func() error {
		select {
		case <-dialled:
			return nil
		case <-provtest.Context(t).Done():
			return provtest.Context(t).Err()
		}
	}}
	provisioner := provtest.NewProvisioner(t, server, fleetprov.WithPrivateKey(key),
		fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			once.Do(func() { close(dialled) })
			return new(net.Dialer).DialContext(ctx, network, address)
		}))
	_, err := provisioner.Provision(provtest.Context(t), nil)
	assert.NoError(t, err)
}

func TestCertificateForAnotherKeyIsNotBelieved(t *testing.T) {
	server := provtest.NewServer(t)
	another := testca.New("a root").Client("AWS IoT Certificate", testca.Validity{})
	for name, certificate := range map[string]string{
		"for another key": string(provtest.PEM("CERTIFICATE", another.Leaf.Raw)),
		"not there":       "",
		"another text":    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := json.Marshal(map[string]string{
				"certificateId":             "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
				"certificatePem":            certificate,
				"certificateOwnershipToken": "token",
			})
			require.NoError(t, err)
			server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Response: answer})
			credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithGeneratedKey(), provtest.OneAttempt).Provision(provtest.Context(t), nil)
			assert.Nil(t, credentials)
			assertOp(t, fleetprovtest.OpCreateCertificateFromCSR, err)
			assert.ErrorIs(t, err, fleetprov.ErrBadResponse)
			assert.False(t, fleetprov.Retryable(err))
		})
	}
}
