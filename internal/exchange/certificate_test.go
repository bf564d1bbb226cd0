package exchange_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

// certificateFor is a certificate that ca signs for any public key.
func certificateFor(t testing.TB, public crypto.PublicKey) (certPEM string) {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, ca)
	return pemOf(t, "CERTIFICATE", der, err)
}

// odd is a number of so many bits that is no RSA modulus, but looks like one.
func odd(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), bits)
	return n.Sub(n, big.NewInt(1))
}

// inNoTime fails a test of what would otherwise take seconds to minutes.
func inNoTime(t *testing.T, began time.Time) {
	t.Helper()
	assert.Less(t, time.Since(began), 2*time.Second)
}

func TestCertificateIsLookedAtAsAWhole(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)
	garbled := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	undecodable := strings.Replace(certificate, "-----\nMI", "-----\n!!", 1)
	for name, test := range map[string]struct {
		pem    string
		public crypto.PublicKey
		says   string
	}{
		"a second that does not parse":  {certificate + garbled, key.Public(), "certificate 2: "},
		"a third that does not parse":   {certificate + certificate + garbled, key.Public(), "certificate 3: "},
		"a second that is not base64":   {certificate + undecodable, key.Public(), "of 2 PEM blocks, 1 can be decoded"},
		"a first that is not base64":    {undecodable + certificate, key.Public(), "of 2 PEM blocks, 1 can be decoded"},
		"a second that is cut off":      {certificate + certificate[:100], key.Public(), "of 2 PEM blocks, 1 can be decoded"},
		"a block of another type alone": {"-----BEGIN \x1b[31m-----\nAAAA\n-----END \x1b[31m-----\n", key.Public(), `no certificate, but PEM blocks of the type "\x1b[31m"`},
		"a block of an endless type":    {"-----BEGIN " + strings.Repeat("X", 9999) + "-----\nAAAA\n-----END " + strings.Repeat("X", 9999) + "-----\n", key.Public(), `"` + strings.Repeat("X", 40) + `"`},
		"many blocks of other types":    {strings.Repeat("-----BEGIN X-----\nAAAA\n-----END X-----\n", 99), key.Public(), `"X", "X", "X"`},
		"more than a chain has":         {strings.Repeat(certificate, 17), key.Public(), "more than 16 certificates"},
		"RSA of 2047 bits":              {certificateFor(t, &rsa.PublicKey{N: odd(2047), E: 65537}), &rsa.PublicKey{N: odd(2047), E: 65537}, "RSA of 2047 bits, not 2048 to 8192"},
		"RSA of 8193 bits":              {certificateFor(t, &rsa.PublicKey{N: odd(8193), E: 65537}), &rsa.PublicKey{N: odd(8193), E: 65537}, "RSA of 8193 bits, not 2048 to 8192"},
		"RSA of 64k bits":               {certificateFor(t, &rsa.PublicKey{N: odd(65536), E: 65537}), &rsa.PublicKey{N: odd(65536), E: 65537}, "RSA of 65536 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": test.pem, "certificateOwnershipToken": "token"}))
			began := time.Now()
			issued, err := client.CreateCertificateFromCSR(t.Context(), csrTopic, nil, test.public)
			inNoTime(t, began)
			require.ErrorIs(t, err, exchange.ErrBadResponse)
			assert.Nil(t, issued)
			assert.ErrorContains(t, err, test.says)
			assert.Less(t, len(err.Error()), 500)
			assert.NotContains(t, err.Error(), "\x1b")
		})
	}
	for name, whole := range map[string]string{
		"a chain":                certificate + certificate,
		"16 certificates":        strings.Repeat(certificate, 16),
		"text around the blocks": "the device's\n" + certificate + "and its issuer's\n" + certificate,
		"blocks of other types":  certificate + "-----BEGIN X-----\nAAAA\n-----END X-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, client := accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": whole, "certificateOwnershipToken": "token"}))
			issued, err := client.CreateCertificateFromCSR(t.Context(), csrTopic, nil, key.Public())
			require.NoError(t, err)
			assert.Len(t, issued.Chain, strings.Count(whole, "BEGIN CERTIFICATE"))
		})
	}
	for _, bits := range []uint{2048, 8192} {
		t.Run(fmt.Sprintf("RSA of %d bits", bits), func(t *testing.T) {
			public := &rsa.PublicKey{N: odd(bits), E: 65537}
			_, client := accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": certificateFor(t, public), "certificateOwnershipToken": "token"}))
			_, err := client.CreateCertificateFromCSR(t.Context(), csrTopic, nil, public)
			assert.NoError(t, err)
		})
	}
}

// hostileKey is the DER of an RSA key as PKCS #1 has it, of numbers that belong to no
// key.
func hostileKey(t *testing.T, numbers ...*big.Int) []byte {
	t.Helper()
	der, err := asn1.Marshal(append([]*big.Int{big.NewInt(0)}, numbers...))
	require.NoError(t, err)
	return der
}

func TestPrivateKeyCostsNoSeconds(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)
	e, one := big.NewInt(65537), big.NewInt(1)
	pemKey := func(numbers ...*big.Int) string { return pemOf(t, "RSA PRIVATE KEY", hostileKey(t, numbers...), nil) }
	prime := new(big.Int).Sub(new(big.Int).Lsh(one, 2203), one) // Mersenne's, of 2,203 bits
	for name, test := range map[string]struct{ key, says string }{
		"64k bits":                 {pemKey(odd(65536), e, odd(65536), odd(32768), odd(32768), one, one, one), "more than an RSA key of 8192 bits"},
		"64k bits, in PKCS #8":     {pemOf(t, "PRIVATE KEY", make([]byte, 40000), nil), "more than an RSA key of 8192 bits"},
		"13k bits of two factors":  {pemKey(odd(13000), e, odd(9000), odd(6500), odd(6500), one, one, one), "privateKey"},
		"a factor of its length":   {pemKey(odd(9000), e, odd(9000), odd(9000), one, one, one, one), "privateKey"},
		"a square":                 {pemKey(new(big.Int).Mul(prime, prime), e, odd(4406), prime, prime, odd(2203), odd(2203), odd(2203)), "privateKey"},
		"an exponent of 30k bits":  {pemKey(key.N, e, odd(30000), key.Primes[0], key.Primes[1], one, one, one), "privateKey"},
		"CRT values of 10k bits":   {pemKey(key.N, e, key.D, key.Primes[0], key.Primes[1], odd(10000), odd(10000), odd(10000)), "privateKey"},
		"a certificate":            {certificate, `no private key, but PEM blocks of the type "CERTIFICATE"`},
		"a type that paints":       {"-----BEGIN \x1b[31m-----\nAAAA\n-----END \x1b[31m-----\n", `no private key, but PEM blocks of the type "\x1b[31m"`},
		"no PEM":                   {"MIIB", "no PEM block at all"},
		"another block is damaged": {"-----BEGIN X-----\n", "of 1 PEM blocks, 0 can be decoded"},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := accepting(createTopic, answer(t, map[string]any{
				"certificateId": id, "certificatePem": certificate, "privateKey": test.key, "certificateOwnershipToken": "token"}))
			began := time.Now()
			issued, err := client.CreateKeysAndCertificate(t.Context(), createTopic)
			inNoTime(t, began)
			require.ErrorIs(t, err, exchange.ErrBadResponse)
			assert.Nil(t, issued)
			assert.ErrorContains(t, err, test.says)
			assert.Less(t, len(err.Error()), 500)
			assert.NotContains(t, err.Error(), "\x1b")
		})
	}
}

// Two primes of 4096 bits take too long to be found here: numbers of their length are
// refused for what they are.
func TestLongestKeyThatAWSMayMakeIsNotTooLong(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)
	pkcs1 := hostileKey(t, odd(8192), big.NewInt(65537), odd(8192), odd(4096), odd(4096), odd(4096), odd(4096), odd(4096))
	pkcs8, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}, pkcs1})
	for name, text := range map[string]string{"PKCS #1": pemOf(t, "RSA PRIVATE KEY", pkcs1, nil), "PKCS #8": pemOf(t, "PRIVATE KEY", pkcs8, err)} {
		t.Run(name, func(t *testing.T) {
			_, client := accepting(createTopic, answer(t, map[string]any{
				"certificateId": id, "certificatePem": certificate, "privateKey": text, "certificateOwnershipToken": "token"}))
			_, err := client.CreateKeysAndCertificate(t.Context(), createTopic)
			require.ErrorIs(t, err, exchange.ErrBadResponse)
			assert.NotContains(t, err.Error(), "more than")
		})
	}
}

func TestTokenTooLongForAJournal(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)
	for length, refused := range map[int]bool{464: false, 16 << 10: false, 16<<10 + 1: true} {
		_, client := accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": certificate, "certificateOwnershipToken": strings.Repeat("t", length)}))
		_, err = client.CreateCertificateFromCSR(t.Context(), csrTopic, nil, key.Public())
		assert.Equal(t, refused, err != nil, "%v", err)
	}
}

// What is registered stays registered, whatever the answer holds.
func TestRegistrationTooLargeToBeStored(t *testing.T) {
	for name, test := range map[string]struct {
		thing, value string
		kept, named  bool
		says         []string
	}{
		"128 KB of letters":              {"device-1", strings.Repeat("a", 128<<10), true, true, nil},
		"128 KB of quotes":               {"device-1", strings.Repeat(`"`, 128<<10), true, true, nil},
		"128 KB of <":                    {"device-1", strings.Repeat("<", 128<<10), false, true, []string{"deviceConfiguration has 786", "left out"}},
		"128 KB of control characters":   {"device-1", strings.Repeat("\x01", 128<<10), false, true, []string{"deviceConfiguration has 786", "left out"}},
		"a thing name without end":       {strings.Repeat("n", 2000), "a", true, false, []string{"thingName has 2000 bytes", "left out"}},
		"a thing name and < without end": {strings.Repeat("n", 2000), strings.Repeat("<", 127<<10), false, false, []string{"thingName has 2000 bytes", "deviceConfiguration has 780"}},
	} {
		t.Run(name, func(t *testing.T) {
			payload := cborMapOf("deviceConfiguration", cborMapOf("key", cborText(test.value)), "thingName", cborText(test.thing))
			_, client := accepting(registerTopic, string(payload))
			client.Format = exchange.CBOR
			registered, err := client.RegisterThing(t.Context(), registerTopic, "token", nil)
			require.NotNil(t, registered, "AWS has accepted it")
			assert.Equal(t, test.kept, registered.DeviceConfiguration["key"] == test.value)
			assert.Equal(t, test.kept, registered.DeviceConfiguration != nil)
			assert.Equal(t, test.named, registered.ThingName == test.thing)
			if test.says == nil {
				require.NoError(t, err)
			}
			for _, text := range test.says {
				assert.ErrorIs(t, err, exchange.ErrBadResponse)
				assert.ErrorContains(t, err, text)
				assert.Less(t, len(err.Error()), 500)
			}
		})
	}
}

// cborText and cborMapOf write items whose lengths have 32 bits (RFC 8949, section 3).
func cborText(text string) []byte {
	n := len(text)
	return append([]byte{0x7a, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, text...)
}

func cborMapOf(pairs ...any) []byte {
	b := []byte{0xa0 | byte(len(pairs)/2)}
	for i := 0; i < len(pairs); i += 2 {
		b = append(append(b, cborText(pairs[i].(string))...), pairs[i+1].([]byte)...)
	}
	return b
}
