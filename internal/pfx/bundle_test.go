package pfx

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryCertificateGetsItsPart(t *testing.T) {
	key := newKey(t)
	server := newAuthority(t, nil, "server root")
	root := newAuthority(t, nil, "device root")
	outer := newAuthority(t, root, "outer")
	inner := newAuthority(t, outer, "inner")
	namesake := newAuthority(t, nil, "inner")
	leaf := issue(t, inner, "leaf", key)
	selfSigned := issue(t, nil, "leaf", key)
	until := func(year int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	}
	old, renewed := issue(t, inner, "old", key, until(2026)), issue(t, inner, "renewed", key, until(2027))
	crossSigned := issue(t, server, "device root", root.key, ca)
	left := newAuthority(t, nil, "left")
	right := newAuthority(t, left, "right")
	leftByRight := issue(t, right, "left", left.key, ca)
	ofLeft := issue(t, left, "leaf", key)
	plain := issue(t, nil, "no authority", newKey(t))
	version1 := version1Root(t)

	tests := map[string]struct {
		file         []*x509.Certificate
		leaf         string
		chain, roots []string
	}{
		"leaf alone":                         {[]*x509.Certificate{leaf}, "leaf", nil, nil},
		"leaf first":                         {[]*x509.Certificate{leaf, server.Certificate}, "leaf", nil, []string{"server root"}},
		"leaf last":                          {[]*x509.Certificate{server.Certificate, leaf}, "leaf", nil, []string{"server root"}},
		"chain in order":                     {[]*x509.Certificate{leaf, inner.Certificate, outer.Certificate}, "leaf", []string{"inner", "outer"}, nil},
		"chain upside down":                  {[]*x509.Certificate{outer.Certificate, inner.Certificate, leaf}, "leaf", []string{"inner", "outer"}, nil},
		"the leaf's own root ends the chain": {[]*x509.Certificate{root.Certificate, leaf, inner.Certificate, outer.Certificate, server.Certificate}, "leaf", []string{"inner", "outer", "device root"}, []string{"server root"}},
		"an issuer that is missing ends the chain":   {[]*x509.Certificate{leaf, outer.Certificate, root.Certificate}, "leaf", nil, []string{"device root"}},
		"the issuer's namesake is none":              {[]*x509.Certificate{namesake.Certificate, leaf, inner.Certificate}, "leaf", []string{"inner"}, []string{"inner"}},
		"an intermediate of others is dropped":       {[]*x509.Certificate{leaf, newAuthority(t, server, "server intermediate").Certificate}, "leaf", nil, nil},
		"a self-signed certificate of no CA too":     {[]*x509.Certificate{leaf, plain}, "leaf", nil, nil},
		"a root of version 1 is a root":              {[]*x509.Certificate{leaf, version1}, "leaf", nil, []string{"version 1"}},
		"the same root twice is one":                 {[]*x509.Certificate{leaf, server.Certificate, server.Certificate}, "leaf", nil, []string{"server root"}},
		"the same issuer twice is one":               {[]*x509.Certificate{leaf, inner.Certificate, inner.Certificate, outer.Certificate}, "leaf", []string{"inner", "outer"}, nil},
		"a self-signed leaf":                         {[]*x509.Certificate{selfSigned, server.Certificate}, "leaf", nil, []string{"server root"}},
		"renewed for the same key, old first":        {[]*x509.Certificate{old, renewed, inner.Certificate}, "renewed", []string{"inner"}, nil},
		"renewed for the same key, old last":         {[]*x509.Certificate{inner.Certificate, renewed, old}, "renewed", []string{"inner"}, nil},
		"the issuer's root, signed by itself too":    {[]*x509.Certificate{leaf, inner.Certificate, outer.Certificate, crossSigned, root.Certificate}, "leaf", []string{"inner", "outer", "device root"}, nil},
		"a root that is reached ends the chain":      {[]*x509.Certificate{leaf, inner.Certificate, outer.Certificate, root.Certificate, crossSigned}, "leaf", []string{"inner", "outer", "device root"}, nil},
		"authorities that issued each other":         {[]*x509.Certificate{ofLeft, leftByRight, right.Certificate}, "leaf", []string{"left", "right"}, nil},
		"roots stay in the order of the file":        {[]*x509.Certificate{server.Certificate, leaf, namesake.Certificate, root.Certificate}, "leaf", nil, []string{"server root", "inner", "device root"}},
		"a cross-signed root leads to the other one": {[]*x509.Certificate{leaf, inner.Certificate, outer.Certificate, crossSigned, server.Certificate}, "leaf", []string{"inner", "outer", "device root", "server root"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := newBundle(key, test.file)
			require.NoError(t, err)
			checkBundle(t, b)
			assert.Equal(t, test.leaf, b.Leaf.Subject.CommonName)
			assert.Equal(t, append([]string{}, test.chain...), names(b.Chain))
			assert.Equal(t, append([]string{}, test.roots...), names(b.Roots))
		})
	}
}

// version1Root has no extensions, as roots of the 1990s.
func version1Root(t *testing.T) *x509.Certificate {
	c := issue(t, nil, "version 1", newKey(t))
	c.Version, c.IsCA, c.BasicConstraintsValid = 1, false, false
	return c
}

func TestKeyAndCertificateMustBelongTogether(t *testing.T) {
	key := newKey(t)
	b, err := newBundle(key, []*x509.Certificate{issue(t, nil, "other", newKey(t)), newAuthority(t, nil, "root").Certificate})
	checkError(t, b, err)
	assert.ErrorContains(t, err, "none of the file's certificates (2) belongs to its private key")
}

func TestKeyOfUnknownKindIsRefused(t *testing.T) {
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	b, err := Parse(file(t, "secret", encryptedSafe{}, keyBag(t, agreement), certificateBag(issue(t, nil, "device", newKey(t)))), "secret")
	checkError(t, b, err)
	assert.ErrorContains(t, err, "an X25519 key, which is not supported: make a new key")
}

// A verification takes time that grows with the square of the key's length.
func TestSignaturesOfHugeRSAKeysAreNotChecked(t *testing.T) {
	parent := issue(t, nil, "root", newKey(t), ca)
	parent.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), maxRSA), E: 1<<31 - 1}
	var signatures signatureCheck
	assert.False(t, signatures.issued(parent, parent))
	assert.Zero(t, signatures)
}

func TestNamesAreComparedBeforeSignatures(t *testing.T) {
	key := newKey(t)
	parent := &authority{issue(t, nil, "a", key, ca), key}
	child := issue(t, parent, "child", newKey(t))
	other := issue(t, nil, "b", key, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "b"} })
	var signatures signatureCheck
	assert.True(t, signatures.issued(parent.Certificate, child))
	assert.False(t, signatures.issued(other, child))
	assert.EqualValues(t, 1, signatures)
}
