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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
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
