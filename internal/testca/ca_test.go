package testca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/testca"
)

func TestServerCertificate(t *testing.T) {
	ca := testca.New("root")
	leaf := ca.Server(testca.Validity{}, "localhost", "127.0.0.1", "::1").Leaf
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: host})
		assert.NoError(t, err, host)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "example.com"})
	assert.ErrorAs(t, err, new(x509.HostnameError))
	_, err = leaf.Verify(x509.VerifyOptions{Roots: testca.New("root").Pool()})
	assert.ErrorAs(t, err, new(x509.UnknownAuthorityError), "roots of one name are still two")
}

func TestValidity(t *testing.T) {
	ca := testca.New("root")
	now := time.Now()
	for _, test := range []struct {
		name     string
		validity testca.Validity
		valid    bool
	}{
		{"nothing said means now", testca.Validity{}, true},
		{"expired", testca.Validity{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}, false},
		{"not yet valid", testca.Validity{NotBefore: now.Add(time.Hour)}, false},
		{"valid since a moment", testca.Validity{NotBefore: now.Add(-time.Second)}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, leaf := range []*x509.Certificate{
				ca.Client("device", test.validity).Leaf,
				ca.Server(test.validity, "localhost").Leaf,
			} {
				_, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
				if test.valid {
					assert.NoError(t, err)
				} else {
					var invalid x509.CertificateInvalidError
					require.ErrorAs(t, err, &invalid)
					assert.Equal(t, x509.Expired, invalid.Reason)
				}
			}
		})
	}
}

func TestIssue(t *testing.T) {
	ca := testca.New("root")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	leaf, err := ca.Issue("device", testca.Validity{}, key.Public())
	require.NoError(t, err)
	assert.Equal(t, key.Public(), leaf.PublicKey)
	assert.Equal(t, "device", leaf.Subject.CommonName)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	assert.NoError(t, err)

	leaf, err = ca.Issue("device", testca.Validity{}, "not a key")
	assert.Error(t, err)
	assert.Nil(t, leaf)
}

func TestCertificatesAreValidInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testca.New("root")
		_, err := ca.Client("device", testca.Validity{}).Leaf.Verify(x509.VerifyOptions{
			Roots: ca.Pool(), CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		assert.NoError(t, err)
	})
}

// An authority below the root, as public ones are: a server sends the whole chain but for
// the root, and a client that trusts the root alone accepts it.
func TestIntermediates(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	root := testca.New("root")
	upper := root.Public("authority.invalid").Intermediate(pkix.Name{CommonName: "upper"}, key)
	lower := upper.Intermediate(pkix.Name{CommonName: "lower"}, key)
	pair := lower.ServerWithKey(key, testca.Validity{}, "localhost")

	require.Len(t, pair.Certificate, 3)
	assert.Equal(t, lower.Certificate().Raw, pair.Certificate[1])
	assert.Equal(t, upper.Certificate().Raw, pair.Certificate[2])
	assert.Equal(t, key.Public(), pair.Leaf.PublicKey)
	assert.Equal(t, []string{"http://ocsp.authority.invalid"}, pair.Leaf.OCSPServer)
	between := x509.NewCertPool()
	between.AddCert(lower.Certificate())
	between.AddCert(upper.Certificate())
	chains, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: root.Pool(), Intermediates: between, DNSName: "localhost"})
	require.NoError(t, err)
	assert.Len(t, chains[0], 4)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: root.Pool(), DNSName: "localhost"})
	assert.ErrorAs(t, err, new(x509.UnknownAuthorityError))
}

// A root that an older one has signed, too: clients that trust either accept what is below
// it.
func TestCrossSigned(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	older, root := testca.New("older"), testca.New("root")
	pair := root.Intermediate(pkix.Name{CommonName: "issuer"}, key).CrossSigned(root, older).Server(testca.Validity{}, "localhost")
	require.Len(t, pair.Certificate, 3)
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		certificate, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		between.AddCert(certificate)
	}
	for _, trusted := range []*testca.CA{older, root} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: trusted.Pool(), Intermediates: between, DNSName: "localhost"})
		assert.NoError(t, err)
	}
}

func TestKeysOfEveryKindAreKept(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, ca := range []*testca.CA{testca.New("root"), testca.NewRoot(pkix.Name{CommonName: "root"}, rsaKey)} {
		again, err := testca.Parse(ca.MarshalPEM())
		require.NoError(t, err)
		leaf := again.Client("device", testca.Validity{}).Leaf
		assert.NoError(t, leaf.CheckSignatureFrom(ca.Certificate()))
	}
}
