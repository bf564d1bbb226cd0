package exchange_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

// session answers each request with what a test gives it.
type session struct {
	topic, payload string // of the answer
	err            error
	sentTo         string
	sent           []byte
}

func (s *session) Publish(_ context.Context, topic string, payload []byte) error {
	s.sentTo, s.sent = topic, payload
	return nil
}

func (s *session) Await(_ context.Context, either, or string) (string, []byte, error) {
	if s.err != nil {
		return "", nil, s.err
	}
	if s.topic != either && s.topic != or {
		return "", nil, errors.New("nobody waits for " + s.topic)
	}
	return s.topic, []byte(s.payload), nil
}

const (
	createTopic   = "$aws/certificates/create/json"
	csrTopic      = "$aws/certificates/create-from-csr/json"
	registerTopic = "$aws/provisioning-templates/T/provision/json"
)

// accepting answers on topic's accepted topic.
func accepting(topic, payload string) (*session, *exchange.Client) {
	s := &session{topic: topic + "/accepted", payload: payload}
	return s, &exchange.Client{Session: s, Format: exchange.JSON}
}

func selfSigned(t testing.TB, key crypto.Signer) (certPEM string, id string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	digest := sha256.Sum256(der)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hex.EncodeToString(digest[:])
}

func answer(t testing.TB, fields map[string]any) string {
	t.Helper()
	text, err := json.Marshal(fields)
	require.NoError(t, err)
	return string(text)
}

func pemOf(t testing.TB, kind string, der []byte, err error) string {
	t.Helper()
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestCreateKeysTakesEveryKeyEncoding(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pkcs8, err8 := x509.MarshalPKCS8PrivateKey(rsaKey)
	sec1, err1 := x509.MarshalECPrivateKey(ecKey)

	for name, test := range map[string]struct {
		key crypto.Signer
		pem string
	}{
		"PKCS #1":              {rsaKey, pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil)},
		"PKCS #8":              {rsaKey, pemOf(t, "PRIVATE KEY", pkcs8, err8)},
		"SEC 1":                {ecKey, pemOf(t, "EC PRIVATE KEY", sec1, err1)},
		"SEC 1, wrong label":   {ecKey, pemOf(t, "RSA PRIVATE KEY", sec1, err1)},
		"PKCS #8, wrong label": {rsaKey, pemOf(t, "RSA PRIVATE KEY", pkcs8, err8)},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, id := selfSigned(t, test.key)
			s, client := accepting(createTopic, answer(t, map[string]any{
				"certificateId": id, "certificatePem": certificate, "privateKey": test.pem, "certificateOwnershipToken": "token",
			}))
			issued, err := client.CreateKeysAndCertificate(t.Context(), createTopic)
			require.NoError(t, err)
			assert.Equal(t, id, issued.ID)
			assert.Equal(t, "token", issued.Token)
			assert.Equal(t, test.key, issued.Key)
			assert.Equal(t, createTopic, s.sentTo)
			assert.Empty(t, s.sent, "the request has an empty payload")
		})
	}
}

func TestCreateKeysBelievesNothing(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	keyPEM := pemOf(t, "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(other)
	otherPEM := pemOf(t, "PRIVATE KEY", der, err)
	good := map[string]any{"certificateId": id, "certificatePem": certificate, "privateKey": keyPEM, "certificateOwnershipToken": "s3cret-token"}

	with := func(field string, value any) string {
		fields := map[string]any{}
		for k, v := range good {
			fields[k] = v
		}
		if fields[field] = value; value == nil {
			delete(fields, field)
		}
		return answer(t, fields)
	}
	_, client := accepting(createTopic, answer(t, good))
	_, err = client.CreateKeysAndCertificate(t.Context(), createTopic)
	require.NoError(t, err, "the answer the others are made from is good")

	for name, payload := range map[string]string{
		"empty":                   "",
		"not JSON":                "<html>s3cret-token</html>",
		"truncated":               answer(t, good)[:200],
		"null":                    "null",
		"an array":                "[]",
		"followed by more":        answer(t, good) + "{}",
		"no id":                   with("certificateId", nil),
		"id too short":            with("certificateId", id[:63]),
		"id not hex":              with("certificateId", strings.Repeat("g", 64)),
		"id a number":             with("certificateId", 5),
		"no token":                with("certificateOwnershipToken", nil),
		"no key":                  with("privateKey", nil),
		"key of another":          with("privateKey", otherPEM),
		"key garbled":             with("privateKey", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"no certificate":          with("certificatePem", nil),
		"certificate garbled":     with("certificatePem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"a key as certificate":    with("certificatePem", keyPEM),
		"certificate not in PEM":  with("certificatePem", "MIIB"),
		"certificate of an array": with("certificatePem", []int{1}),
	} {
		t.Run(name, func(t *testing.T) {
			_, client := accepting(createTopic, payload)
			issued, err := client.CreateKeysAndCertificate(t.Context(), createTopic)
			require.ErrorIs(t, err, exchange.ErrBadResponse)
			assert.Nil(t, issued)
			assert.NotContains(t, err.Error(), "s3cret-token")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestCSRAnswerMustHoldTheDevicesKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	csr, err := exchange.NewCSR(key)
	require.NoError(t, err)
	payload, err := exchange.JSON.CSRRequest(csr)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)

	s, client := accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": certificate, "certificateOwnershipToken": "token"}))
	issued, err := client.CreateCertificateFromCSR(t.Context(), csrTopic, payload, key.Public())
	require.NoError(t, err)
	assert.Nil(t, issued.Key)
	var request map[string]string
	require.NoError(t, json.Unmarshal(s.sent, &request))
	assert.Equal(t, map[string]string{"certificateSigningRequest": string(csr)}, request)

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, err = client.CreateCertificateFromCSR(t.Context(), csrTopic, payload, other.Public())
	assert.ErrorIs(t, err, exchange.ErrBadResponse)

	_, client = accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": "", "certificateOwnershipToken": "token"}))
	_, err = client.CreateCertificateFromCSR(t.Context(), csrTopic, payload, key.Public())
	assert.ErrorIs(t, err, exchange.ErrBadResponse)
}

func TestCSRLongerThanAWSTakesIsRefused(t *testing.T) {
	csr, err := exchange.NewCSR(rsaKey(t, 8)) // of 4,096 bits
	require.NoError(t, err)
	assert.LessOrEqual(t, len(csr), 4096)

	_, err = exchange.NewCSR(rsaKey(t, 26))
	assert.ErrorContains(t, err, "4096")
}

// rsaKey returns a key of many primes of 512 bits, because two long ones take seconds to
// minutes to find.
func rsaKey(t *testing.T, primes int) *rsa.PrivateKey {
	t.Helper()
	one := big.NewInt(1)
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: one, E: 65537}}
	phi := one
	for range primes {
		prime, err := rand.Prime(rand.Reader, 512)
		require.NoError(t, err)
		key.Primes = append(key.Primes, prime)
		key.N = new(big.Int).Mul(key.N, prime)
		phi = new(big.Int).Mul(phi, new(big.Int).Sub(prime, one))
	}
	key.D = new(big.Int).ModInverse(big.NewInt(int64(key.E)), phi)
	require.NotNil(t, key.D)
	key.Precompute()
	return key
}

// The answer is read as if the request had been sent by the call.
func TestRequestThatWasSentIsNotSentAgain(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, id := selfSigned(t, key)
	s, client := accepting(csrTopic, answer(t, map[string]any{"certificateId": id, "certificatePem": certificate, "certificateOwnershipToken": "token"}))
	client.Sent = true
	issued, err := client.CreateCertificateFromCSR(t.Context(), csrTopic, []byte("request"), key.Public())
	require.NoError(t, err)
	assert.Equal(t, id, issued.ID)
	assert.Empty(t, s.sentTo)
}

func TestRegisterThingSendsTokenAndParameters(t *testing.T) {
	s, client := accepting(registerTopic, `{"thingName":"device-1","deviceConfiguration":{"FallbackUrl":"https://www.example.com/test-site"}}`)
	registered, err := client.RegisterThing(t.Context(), registerTopic, "token", map[string]string{"SerialNumber": "1"})
	require.NoError(t, err)
	assert.Equal(t, &exchange.Registered{ThingName: "device-1", DeviceConfiguration: map[string]string{"FallbackUrl": "https://www.example.com/test-site"}}, registered)
	assert.JSONEq(t, `{"certificateOwnershipToken":"token","parameters":{"SerialNumber":"1"}}`, string(s.sent))

	_, err = client.RegisterThing(t.Context(), registerTopic, "token", nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"certificateOwnershipToken":"token"}`, string(s.sent))
}

func TestWhatAWSAcceptedIsNeverThrownAway(t *testing.T) {
	for name, test := range map[string]struct {
		payload string
		want    exchange.Registered
		bad     bool
	}{
		"nothing but an object":   {`{}`, exchange.Registered{}, false},
		"null fields":             {`{"thingName":null,"deviceConfiguration":null}`, exchange.Registered{}, false},
		"values of other types":   {`{"thingName":"d","deviceConfiguration":{"n":12345678901234567890,"b":true,"o":{"x":[1]},"z":null,"s":"t"}}`, exchange.Registered{ThingName: "d", DeviceConfiguration: map[string]string{"n": "12345678901234567890", "b": "true", "o": `{"x":[1]}`, "z": "null", "s": "t"}}, false},
		"empty":                   {``, exchange.Registered{}, true},
		"not JSON":                {`OK`, exchange.Registered{}, true},
		"thing name a number":     {`{"thingName":5,"deviceConfiguration":{"k":"v"}}`, exchange.Registered{DeviceConfiguration: map[string]string{"k": "v"}}, true},
		"configuration an array":  {`{"thingName":"d","deviceConfiguration":["v"]}`, exchange.Registered{ThingName: "d"}, true},
		"truncated behind a name": {`{"thingName":"d","deviceConf`, exchange.Registered{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := accepting(registerTopic, test.payload)
			registered, err := client.RegisterThing(t.Context(), registerTopic, "token", nil)
			if test.bad {
				assert.ErrorIs(t, err, exchange.ErrBadResponse)
			} else {
				assert.NoError(t, err)
			}
			require.NotNil(t, registered)
			assert.Equal(t, test.want, *registered)
		})
	}
}

// An answer that cannot be read is described as what it is on the wire.
func TestWhatIsWrongWithAnAnswerIsSaidInPlainWords(t *testing.T) {
	register := func(payload, format string) error {
		_, client := accepting(registerTopic, payload)
		if format == "CBOR" {
			client.Format = exchange.CBOR
		}
		_, err := client.RegisterThing(t.Context(), registerTopic, "token", nil)
		return err
	}
	for payload, says := range map[string]string{
		`{"thingName":5}`:               "thingName is a number, not text",
		`{"thingName":5.5}`:             "thingName is a number, not text",
		`{"thingName":true}`:            "thingName is true or false, not text",
		`{"thingName":{"a":"b"}}`:       "thingName is an object, not text",
		`{"deviceConfiguration":["v"]}`: "deviceConfiguration is an array, not an object",
		`{"deviceConfiguration":"v"}`:   "deviceConfiguration is text, not an object",
		`[]`:                            "it is an array, not an object",
		`"thingName"`:                   "it is text, not an object",
		``:                              "it is empty",
		` `:                             "it is empty",
		`{"thingName":"d`:               "it ends in the middle",
		`OK`:                            "it is not JSON: invalid character 'O' looking for beginning of value",
		`{}{}`:                          "there is data after the JSON value",
	} {
		t.Run(payload, func(t *testing.T) {
			assert.EqualError(t, register(payload, "JSON"), exchange.ErrBadResponse.Error()+": "+says)
		})
	}
	assert.EqualError(t, register("\xa1\x69thingName\x05", "CBOR"), exchange.ErrBadResponse.Error()+": thingName is a number, not text")
	assert.EqualError(t, register("", "CBOR"), exchange.ErrBadResponse.Error()+": the CBOR item is truncated")

	s := &session{topic: createTopic + "/accepted", payload: `{"certificateId":7}`}
	_, err := (&exchange.Client{Session: s, Format: exchange.JSON}).CreateKeysAndCertificate(t.Context(), createTopic)
	assert.EqualError(t, err, exchange.ErrBadResponse.Error()+": certificateId is a number, not text")
	s.payload = `{}`
	_, err = (&exchange.Client{Session: s, Format: exchange.JSON}).CreateKeysAndCertificate(t.Context(), createTopic)
	assert.EqualError(t, err, exchange.ErrBadResponse.Error()+": there is no privateKey in it")
}

func TestRejectionKeepsAWSWords(t *testing.T) {
	for name, test := range map[string]struct {
		payload string
		want    exchange.Rejection
		bad     bool
	}{
		"as documented":          {`{"statusCode":403,"errorCode":"AccessDenied","errorMessage":"Access Denied %s%n"}`, exchange.Rejection{StatusCode: 403, Code: "AccessDenied", Message: "Access Denied %s%n"}, false},
		"status only":            {`{"statusCode":429}`, exchange.Rejection{StatusCode: 429}, false},
		"nothing":                {`{}`, exchange.Rejection{Message: `{}`}, false},
		"other fields":           {`{"message":"Forbidden"}`, exchange.Rejection{Message: `{"message":"Forbidden"}`}, false},
		"status of a wrong type": {`{"statusCode":"500","errorCode":"InternalError"}`, exchange.Rejection{Code: "InternalError"}, true},
		"not JSON":               {`go away`, exchange.Rejection{Message: "go away"}, true},
		"empty":                  {``, exchange.Rejection{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &session{topic: registerTopic + "/rejected", payload: test.payload}
			client := exchange.Client{Session: s, Format: exchange.JSON}
			registered, err := client.RegisterThing(t.Context(), registerTopic, "token", nil)
			assert.Nil(t, registered)
			var rejection *exchange.Rejection
			require.ErrorAs(t, err, &rejection)
			assert.Equal(t, test.want, *rejection)
			assert.Equal(t, test.bad, errors.Is(err, exchange.ErrBadResponse))
		})
	}
}

func TestRefusalThatRepeatsTheTokenLosesIt(t *testing.T) {
	s := &session{topic: registerTopic + "/rejected", payload: `{"statusCode":400,"errorCode":"InvalidCertificateOwnershipToken","errorMessage":"unknown token s3cret"}`}
	client := exchange.Client{Session: s, Format: exchange.JSON}
	_, err := client.RegisterThing(t.Context(), registerTopic, "s3cret", nil)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "s3cret")
	assert.Contains(t, err.Error(), "unknown token")
}

func TestSessionErrorsComeThrough(t *testing.T) {
	lost := errors.New("lost")
	client := exchange.Client{Session: &session{err: lost}, Format: exchange.JSON}
	_, err := client.CreateKeysAndCertificate(t.Context(), createTopic)
	assert.ErrorIs(t, err, lost)
	registered, err := client.RegisterThing(t.Context(), registerTopic, "token", nil)
	assert.ErrorIs(t, err, lost)
	assert.Nil(t, registered)
}

func FuzzCreateAnswer(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	certificate, id := selfSigned(f, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	good := answer(f, map[string]any{"certificateId": id, "certificatePem": certificate, "privateKey": pemOf(f, "PRIVATE KEY", der, err), "certificateOwnershipToken": "token"})
	f.Add([]byte(good), false)
	f.Add([]byte(`{"certificateId":1}`), false)
	f.Add([]byte("\xa1\x6dcertificateId\x01"), true)
	f.Fuzz(func(t *testing.T, payload []byte, cbor bool) {
		_, client := accepting(createTopic, string(payload))
		if cbor {
			client.Format = exchange.CBOR
		}
		issued, err := client.CreateKeysAndCertificate(t.Context(), createTopic)
		if err != nil {
			assert.Nil(t, issued)
			return
		}
		assert.True(t, issued.Key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(issued.Leaf.PublicKey))
	})
}

func FuzzRegisterAnswer(f *testing.F) {
	f.Add([]byte(`{"thingName":"d","deviceConfiguration":{"a":"b","c":1}}`), false, true)
	f.Add([]byte(`{"statusCode":400,"errorCode":"x","errorMessage":"y"}`), false, false)
	f.Add([]byte("\xa2\x69thingName\x61d\x73deviceConfiguration\xa1\x61a\x01"), true, true)
	f.Fuzz(func(t *testing.T, payload []byte, cbor, accepted bool) {
		s, client := accepting(registerTopic, string(payload))
		if !accepted {
			s.topic = registerTopic + "/rejected"
		}
		if cbor {
			client.Format = exchange.CBOR
		}
		registered, err := client.RegisterThing(t.Context(), registerTopic, "token", nil)
		assert.Equal(t, accepted, registered != nil)
		assert.True(t, accepted || err != nil)
	})
}

func TestRejectionTextIsBounded(t *testing.T) {
	r := &exchange.Rejection{StatusCode: 400, Code: strings.Repeat("c", 128<<10), Message: "\x1b" + strings.Repeat("m", 128<<10)}
	assert.Less(t, len(r.Error()), 1000)
	assert.NotContains(t, r.Error(), "\x1b")
}
