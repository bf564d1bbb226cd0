package fleetprovtest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	return ecKeyOf(curve)
}

// ecKeyOf is ecKey where there is no test.
func ecKeyOf(curve elliptic.Curve) crypto.Signer {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

func csr(t *testing.T, key crypto.Signer, change func(*x509.CertificateRequest)) string {
	t.Helper()
	template := &x509.CertificateRequest{}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func csrPayload(t *testing.T, text string) string {
	t.Helper()
	payload, err := json.Marshal(map[string]string{"certificateSigningRequest": text})
	require.NoError(t, err)
	return string(payload)
}

func TestCreateCertificateFromCSR(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(
		"$aws/certificates/create-from-csr/json/accepted",
		"$aws/certificates/create-from-csr/json/rejected",
		"$aws/provisioning-templates/test-template/provision/json/accepted",
		"$aws/provisioning-templates/test-template/provision/json/rejected",
	)
	for _, test := range []struct {
		name string
		key  crypto.Signer
	}{
		{"RSA 2048", rsaKey(t, 2048)},
		{"P-256", ecKey(t, elliptic.P256())},
		{"P-384", ecKey(t, elliptic.P384())},
		{"P-521", ecKey(t, elliptic.P521())},
	} {
		t.Run(test.name, func(t *testing.T) {
			payload := csrPayload(t, csr(t, test.key, nil))
			answer := c.request("$aws/certificates/create-from-csr/json", payload)
			require.Equal(t, "$aws/certificates/create-from-csr/json/accepted", answer.TopicName, "%s", answer.Payload)
			first := decode[created](t, answer.Payload)
			assert.Nil(t, first.PrivateKey)

			block, _ := pem.Decode([]byte(first.CertificatePEM))
			certificate, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err)
			assert.Equal(t, test.key.Public(), certificate.PublicKey)
			assert.Equal(t, "AWS IoT Certificate", certificate.Subject.CommonName)

			again := decode[created](t, c.request("$aws/certificates/create-from-csr/json", payload).Payload)
			assert.NotEqual(t, first.CertificateID, again.CertificateID, "each request makes a certificate")

			registered := c.request(registerTopic, `{"certificateOwnershipToken":"`+first.CertificateOwnershipToken+`"}`)
			assert.Equal(t, registerTopic+"/accepted", registered.TopicName)
		})
	}
}

func TestCSRIsRefused(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")

	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	good := csr(t, ecKey(t, elliptic.P256()), nil)
	block, _ := pem.Decode([]byte(good))
	block.Bytes[len(block.Bytes)-1] ^= 1
	forged := string(pem.EncodeToMemory(block))

	for _, test := range []struct {
		name, payload string
	}{
		{"RSA 1024", csrPayload(t, csr(t, rsaKey(t, 1024), nil))},
		{"P-224", csrPayload(t, csr(t, ecKey(t, elliptic.P224()), nil))},
		{"Ed25519", csrPayload(t, csr(t, edKey, nil))},
		{"signed with SHA-1", csrPayload(t, sha1CSR)},
		{"signed by another key", csrPayload(t, forged)},
		{"over 4096 characters", csrPayload(t, csr(t, ecKey(t, elliptic.P256()), func(r *x509.CertificateRequest) {
			r.Subject.CommonName = strings.Repeat("a", 3000)
		}))},
		{"not PEM", csrPayload(t, "request")},
		{"not a request", csrPayload(t, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")},
		{"empty", csrPayload(t, "")},
		{"missing", `{}`},
		{"not a string", `{"certificateSigningRequest":1}`},
		{"null", `{"certificateSigningRequest":null}`},
		{"not JSON", `certificateSigningRequest`},
		{"no payload", ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := c.request(csrTopic, test.payload)
			assert.Equal(t, csrTopic+"/rejected", answer.TopicName)
			assert.Equal(t, 400, decode[rejection](t, answer.Payload).StatusCode)
		})
	}
	assert.Empty(t, server.Certificates())
}

// sha1CSR is made by openssl req -new -newkey rsa:2048 -subj /CN=device -sha1;
// Go refuses to sign with SHA-1.
const sha1CSR = `-----BEGIN CERTIFICATE REQUEST-----
MIICVjCCAT4CAQAwETEPMA0GA1UEAwwGZGV2aWNlMIIBIjANBgkqhkiG9w0BAQEF
AAOCAQ8AMIIBCgKCAQEAzeLkZXBSQwbpYSN7iRkVnfUTaNZZZX88ZPl5NjYkQOtr
WbF30nAazWednFIO305OQDlTQSVyY0tvqZNMrxjcEZSZO5MHhLbHwd235WUQ54Ik
k1KhHWFC6iVj0gmAX0yN5kNoBFjREle9Gnf0l4NgZwwqg5ws4aM9U1Va44ilDihw
uhL+ELkL6lbQ+jecUAIj2U78OC2Ml23vVfIfetDCdOR7eghK4LaIusT/VCmuiCvB
DMR46lvXpAAJLfuIAHTR/BO00LBYDQJK1euQ9yKF2kJYeG7z8qtRVcQn+Wr97QIY
uiNO6y6t6PTOkg5xg0mL8b2VtbiLxWMhxPZqk3VTaQIDAQABoAAwDQYJKoZIhvcN
AQEFBQADggEBAHKvmoUXDEfyCuqSAXcrdgQEnRm0Ddf98nl7/gT1H1/x7ZVOmeAF
YpPtGCLQd93zzIeOmfEId28tdkLvFCHP3ioDqZdwiTBt0rVZwv19msHF+ODHEy/s
wGAfDptVwjnV33elAieR0rcVq++w4zAEjOQ4KGxoHWx87T9frLC6A3bhQ/54M3x8
ol8T4ApfvUDt3doZzIWzKRjGoeiv+Wd1A/qaFkyN+CukQFr+0JzjkVw8OlncUlbD
SiAvPUOqeuQ7RlIg1lMuV2tKg2/xd9VurolCFnrGEk4R8wQ4M8SCgftrMgtur7Mz
9qjQsbwni+i7/hD3C8O0uJV3+jYcGwk7XCA=
-----END CERTIFICATE REQUEST-----
`
