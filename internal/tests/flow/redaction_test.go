package flow_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// secretTexts are the forms that the private numbers of a key can be printed in.
type secretTexts []string

func secretsOf(t *testing.T, key crypto.Signer) secretTexts {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	secrets := secretTexts{string(der)}
	var numbers [][]byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		numbers = [][]byte{key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()}
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		require.NoError(t, err)
		numbers = [][]byte{d}
	default:
		t.Fatalf("a %T has no secrets known to this test", key)
	}
	for _, number := range numbers {
		// What stands around a number shifts its base64, in steps of a third.
		for shift := range 3 {
			text := base64.StdEncoding.EncodeToString(number[shift : shift+24])
			secrets = append(secrets, text)
		}
		n := new(big.Int).SetBytes(number)
		part := number[8:16]
		secrets = append(secrets,
			string(number),
			hex.EncodeToString(part),
			strings.ToUpper(hex.EncodeToString(part)),
			strings.Trim(fmt.Sprint(part), "[]"),                               // as %v and %d print bytes
			strings.ReplaceAll(fmt.Sprintf("%#v", part)[7:], "}", ""),          // as %#v does
			strings.ReplaceAll(strings.Trim(fmt.Sprint(part), "[]"), " ", ","), // as a list in JSON
			n.String(),
		)
		for _, word := range n.Bits()[:1] { // as verbs that do not know big.Int print it
			secrets = append(secrets, fmt.Sprintf("%d", word), fmt.Sprintf("%x", word), fmt.Sprintf("%X", word))
		}
	}
	return secrets
}

// in returns the secrets that text tells.
func (s secretTexts) in(text string) []string {
	joined := strings.ReplaceAll(text, "\n", "") // PEM is base64 in lines
	var told []string
	for _, secret := range s {
		if strings.Contains(text, secret) || strings.Contains(joined, secret) {
			told = append(told, secret)
		}
	}
	return told
}

var redactionVerbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"}

func TestNothingPrintsThePrivateKey(t *testing.T) {
	server := provtest.NewServer(t)
	claim := server.ClaimCertificate().PrivateKey.(crypto.Signer)
	keys := map[string]fleetprov.Option{"made by AWS": nil, "made on the device": fleetprov.WithGeneratedKey()}
	for name, option := range keys {
		t.Run(name, func(t *testing.T) {
			provisioner := provtest.NewProvisioner(t, server, option)
			credentials, err := provisioner.Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			certificate, err := credentials.TLSCertificate()
			require.NoError(t, err)
			identity, err := credentials.Identity()
			require.NoError(t, err)
			secrets := append(secretsOf(t, claim), secretsOf(t, certificate.PrivateKey.(crypto.Signer))...)

			type embedding struct {
				fleetprov.Credentials
				Identity    fleetprov.Identity
				Provisioner *fleetprov.Provisioner
			}
			type pointing struct {
				*fleetprov.Credentials
				Identity *fleetprov.Identity
			}
			for _, value := range []any{
				*credentials, credentials, &credentials,
				*identity, identity, &identity,
				*provisioner, provisioner, &provisioner,
				embedding{*credentials, *identity, provisioner}, &embedding{*credentials, *identity, provisioner},
				pointing{credentials, identity}, &pointing{credentials, identity},
				struct{ any }{*credentials}, struct{ Any any }{*credentials},
				[]fleetprov.Credentials{*credentials}, []*fleetprov.Credentials{credentials},
				[1]fleetprov.Identity{*identity}, []fleetprov.Provisioner{*provisioner},
				map[string]fleetprov.Credentials{"": *credentials}, map[string]*fleetprov.Identity{"": identity},
				map[*fleetprov.Credentials]fleetprov.Identity{credentials: *identity},
				errors.Join(fmt.Errorf("%v %v", *credentials, identity)),
				option,
			} {
				for _, verb := range redactionVerbs {
					assert.Empty(t, secrets.in(fmt.Sprintf(verb, value)), "%s of %T", verb, value)
				}
				var log bytes.Buffer
				for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
					slog.New(handler).Info("device", "value", value, slog.Group("group", "value", value))
				}
				assert.NotEmpty(t, log.String())
				assert.Empty(t, secrets.in(log.String()), "slog of %T", value)
				text, _ := json.Marshal(value)
				assert.Empty(t, secrets.in(string(text)), "JSON of %T", value)
			}
		})
	}
}

// The test above is worth as much as its eyes.
func TestPrintedKeysAreRecognized(t *testing.T) {
	for name, key := range devicekeyAccepted(t) {
		t.Run(name, func(t *testing.T) {
			secrets := secretsOf(t, key)
			der, err := x509.MarshalPKCS8PrivateKey(key)
			require.NoError(t, err)
			assert.NotEmpty(t, secrets.in(string(provtest.PEM("PRIVATE KEY", der))), "PEM")
			for _, verb := range redactionVerbs {
				if verb == "%s" || verb == "%q" { // print numbers and bytes in forms nobody reads back
					continue
				}
				assert.NotEmpty(t, secrets.in(fmt.Sprintf(verb, der)), "%s of the bytes", verb)
			}
			assert.NotEmpty(t, secrets.in(string(der)))
			if number, ok := key.(*rsa.PrivateKey); ok {
				text, err := json.Marshal(number)
				require.NoError(t, err)
				assert.NotEmpty(t, secrets.in(string(text)))
				assert.NotEmpty(t, secrets.in(fmt.Sprintf("%v", struct{ d *big.Int }{number.D}.d)))
			}
		})
	}
}

// AWS's words may repeat a parameter's value, as it is or as JSON quotes it. No text
// does, and the fields of the error are AWS's words as they came.
func TestNoTextRepeatsTheValueOfAParameter(t *testing.T) {
	const (
		create   = fleetprovtest.OpCreateKeysAndCertificate
		register = fleetprovtest.OpRegisterThing
	)
	for name, test := range map[string]struct {
		parameters map[string]string
		code, says string
		answer     string // in place of code and says: in no form that is documented
		want       []string
		never      []string
	}{
		"in the message": {
			parameters: map[string]string{"SerialNumber": "s3cret-1"}, says: "the value s3cret-1 of SerialNumber is not allowed",
			want: []string{"the value <SerialNumber> of SerialNumber is not allowed"}, never: []string{"s3cret-1"}},
		"in the code": {
			parameters: map[string]string{"SerialNumber": "s3cret-1"}, code: "Bad_s3cret-1", says: "no",
			want: []string{"Bad_<SerialNumber>"}, never: []string{"s3cret-1"}},
		"two, of which one begins as the other": {
			parameters: map[string]string{"A": "s3cret", "B": "s3cret-1"}, says: "s3cret-1 and s3cret",
			want: []string{"<B> and <A>"}, never: []string{"s3cret"}},
		"as JSON quotes it": {
			parameters: map[string]string{"Pin": `"12" & <key>`}, says: `{"Pin":"\"12\" & <key>"}`,
			want: []string{"<Pin>"}, never: []string{"key"}},
		"as JSON quotes it for HTML": {
			parameters: map[string]string{"Pin": `12<key`}, says: `{"Pin":"12\u003ckey"}`,
			want: []string{"<Pin>"}, never: []string{"key"}},
		"as JSON quotes it in ASCII": {
			parameters: map[string]string{"Owner": "Größe-😀"}, says: `{"Owner":"Gr\u00f6\u00dfe-\ud83d\ude00"}`,
			want: []string{"<Owner>"}, never: []string{"u00f6"}},
		"of three characters, which stays": {
			parameters: map[string]string{"Line": "abc"}, says: "abc is not a line",
			want: []string{"abc is not a line"}},
		"of four characters": {
			parameters: map[string]string{"Line": "abcd"}, says: "abcd is not a line",
			want: []string{"<Line> is not a line"}, never: []string{"abcd"}},
		"in no JSON": {
			parameters: map[string]string{"SerialNumber": "s3cret-1"}, answer: "lambda failed on s3cret-1",
			want: []string{"lambda failed on <SerialNumber>"}, never: []string{"s3cret-1"}},
		"in JSON that was cut off": {
			parameters: map[string]string{"Pin": "\"12\"\nkey"}, answer: `{"message":"\"12\"\nkey`,
			never: []string{"key"}},
		"behind what is cut off": {
			parameters: map[string]string{"SerialNumber": "s3cret-1"}, says: strings.Repeat("x", 508) + "s3cret-1",
			never: []string{"s3cr"}},
	} {
		for _, op := range []fleetprovtest.Op{create, register} {
			t.Run(name+", "+string(op), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					standard := standardLog(t)
					logger, structuredLog := structured()
					fault := fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 500, Code: test.code, Message: test.says}}
					if test.answer != "" {
						fault.Response = []byte(test.answer)
					}
					server, listener := provtest.NewPipeServer(t)
					for _, opt := range []fleetprov.Option{nil, logger} {
						server.Inject(op, fault)
						server.Inject(op, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
						retried := fleetprov.WithRetryIf(func(err error) bool {
							rejected := new(fleetprov.RejectedError)
							require.ErrorAs(t, err, &rejected)
							if rejected.StatusCode == 403 {
								return false
							}
							if test.answer == "" {
								assert.Equal(t, []string{test.code, test.says}, []string{rejected.Code, rejected.Message}, "raw")
							}
							assertMasked(t, test.want, test.never, err.Error())
							assertMasked(t, test.want, test.never, fmt.Sprintf("%v %+v", rejected, rejected))
							return true
						})
						provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(listener.Dial), retried, opt)
						_, err := provisioner.Provision(t.Context(), test.parameters)
						require.ErrorContains(t, err, "403")
					}
					assert.NotEmpty(t, standard.String())
					assertMasked(t, nil, test.never, standard.String())
					assertMasked(t, nil, test.never, structuredLog.String())
				})
			})
		}
	}
}

func assertMasked(t *testing.T, want, never []string, text string) {
	t.Helper()
	for _, words := range want {
		assert.Contains(t, text, strings.Trim(fmt.Sprintf("%q", words), `"`))
	}
	for _, words := range never {
		assert.NotContains(t, text, words)
	}
}
