package pfx

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// spoiled is a certificate that Go does not parse: its serial number is negative.
func spoiled(t *testing.T, c *x509.Certificate) *x509.Certificate {
	der := bytes.Clone(c.Raw)
	version := []byte{0xa0, 3, 2, 1, 2}
	at := bytes.Index(der, version)
	require.Positive(t, at)
	serial := at + len(version) + 2 // behind the header of the serial number
	der[serial] |= 0x80
	_, err := x509.ParseCertificate(der)
	require.ErrorContains(t, err, "negative serial number")
	return &x509.Certificate{Raw: der}
}

func TestCertificatesThatGoDoesNotParseAreLeftOut(t *testing.T) {
	key := newKey(t)
	issuer, server := newAuthority(t, nil, "device root"), newAuthority(t, nil, "server root")
	leaf := issue(t, issuer, "device", key)
	bad := certificateBag(spoiled(t, server.Certificate))
	noCertificate := certificateBag(&x509.Certificate{Raw: []byte("certificate")})
	sdsi := bag{oidCertBag, build(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 2})
			b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddASN1(tag.IA5String, func(b *cryptobyte.Builder) {}) })
		})
	})}
	crl := bag{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 4}, []byte{0x30, 0}}
	secret := bag{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 5}, []byte{0x30, 0}}
	all := []bag{bad, noCertificate, sdsi, crl, secret, certificateBag(leaf), nested(bad, certificateBag(issuer.Certificate))}

	for name, data := range map[string][]byte{
		"plain":     file(t, "secret", encryptedSafe{}, append(all, keyBag(t, key))...),
		"encrypted": file(t, "secret", encryptedBags(t, "secret", all...), keyBag(t, key)),
		"with key":  file(t, "secret", encryptedBags(t, "secret", append(all, keyBag(t, key))...)),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(data, "secret")
			require.NoError(t, err)
			checkBundle(t, b)
			assert.True(t, leaf.Equal(b.Leaf))
			assert.Equal(t, []string{"device root"}, names(b.Chain))
			assert.Empty(t, b.Roots)
		})
	}
}

func TestLeafThatGoDoesNotParseIsNamed(t *testing.T) {
	key := newKey(t)
	other := certificateBag(newAuthority(t, nil, "other").Certificate)
	bad := certificateBag(spoiled(t, issue(t, nil, "device", key)))
	badOther := certificateBag(spoiled(t, issue(t, nil, "other", newKey(t))))
	tests := map[string]struct {
		bags []bag
		err  string
	}{
		"the leaf alone":          {[]bag{bad}, "the certificate of the private key is not valid (negative serial number): have another issued for it"},
		"the leaf beside another": {[]bag{bad, other}, "the certificate of the private key is not valid (negative serial number): have another issued for it"},
		"another alone":           {[]bag{badOther}, "none of the file's certificates (1) can be read"},
		"another beside others":   {[]bag{badOther, other}, "none of the file's certificates (1) belongs to its private key: export the key together with its own certificate (1 more cannot be read)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(file(t, "secret", encryptedSafe{}, append(test.bags, keyBag(t, key))...), "secret")
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
		})
	}
}

// Of a key that Go does not take, OpenSSL would only make the same file again.
func TestFaultOfAKeyIsNamed(t *testing.T) {
	keyOf := func(id string, parameters cryptobyte.BuilderContinuation) []byte {
		return build(func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				algorithm(t, id, parameters)(b)
				b.AddASN1OctetString([]byte{0x30, 0})
			})
		})
	}
	curve := func(id string) cryptobyte.BuilderContinuation {
		return func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(t, id)) }
	}
	tests := map[string]struct {
		der []byte
		err string
	}{
		"brainpool":           {keyOf(keyEC, curve("1.3.36.3.3.2.8.1.1.7")), "an EC key on a curve that is not supported, brainpoolP256r1: make a new key"},
		"an unknown curve":    {keyOf(keyEC, curve("1.2.3.4")), "an EC key on a curve that is not supported, 1.2.3.4: make a new key"},
		"explicit parameters": {keyOf(keyEC, func(b *cryptobyte.Builder) { b.AddASN1(tag.SEQUENCE, func(*cryptobyte.Builder) {}) }), "an EC key with its curve spelled out instead of named: make a new key"},
		"no curve":            {keyOf(keyEC, nil), "an EC key without a curve: make a new key"},
		"no point":            {keyOf(keyEC, curve("1.2.840.10045.3.1.7")), "an EC key that is not valid: make a new key"},
		"RSA of nothing":      {keyOf(keyRSA, nil), "an RSA key that is not valid"},
		"Ed25519 of nothing":  {keyOf(keyEd25519, nil), "an Ed25519 key that is not valid: make a new key"},
		"Ed448":               {keyOf("1.3.101.113", nil), "an Ed448 key, which is not supported: make a new key"},
		"RSA-PSS":             {keyOf("1.2.840.113549.1.1.10", nil), "an RSA-PSS key, which is not supported: make a new key"},
		"DSA":                 {keyOf("1.2.840.10040.4.1", nil), "a DSA key, which is not supported: make a new key"},
		"an unknown kind":     {keyOf("1.2.3.4", nil), "of a kind that is not supported, 1.2.3.4: make a new key"},
		"none":                {[]byte{0x30, 0}, "the file is damaged: its private key cannot be read"},
	}
	leaf := certificateBag(issue(t, nil, "device", newKey(t)))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(file(t, "secret", encryptedSafe{}, leaf, bag{oidKeyBag, test.der}), "secret")
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
			assert.NotContains(t, err.Error(), "openssl")
		})
	}
}

func TestReasonsAreNotInGo(t *testing.T) {
	for text, want := range map[string]string{
		"x509: negative serial number": " (negative serial number)",
		"asn1: structure error: tags don't match (16 vs {class:0 tag:2 length:1 isCompound:false}) {optional:false} pkcs8 @2": "",
		"x509: invalid key *dsa.PublicKey": "",
		"":                                 "",
	} {
		assert.Equal(t, want, plain(errors.New(text)))
	}
	assert.Empty(t, plain(nil))
}
