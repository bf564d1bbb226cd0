package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/examples/pkcs11/internal/softhsm"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// A device's life, whose power is cut whenever AWS has just made something.
func TestADevicesLife(t *testing.T) {
	for name, flags := range map[string][]string{"P-256": nil, "RSA-2048": {"-rsa"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, flags...)

			d.cutPowerAt(fleetprovtest.OpCreateCertificateFromCSR)
			d.cutPowerAt(fleetprovtest.OpRegisterThing)
			p := d.boot()
			p.shows(`connected as "0042" with the key fleetprov-1`)
			p.interrupt()
			require.NoError(t, os.Remove(d.claim), "it is not needed any more")

			d.cutPowerAt(fleetprovtest.OpCreateCertificateFromCSR, "-renew")
			d.cutPowerAt(fleetprovtest.OpRegisterThing, "-renew")
			p = d.boot("-renew")
			p.shows(`connected as "0042" with the key fleetprov-1`)
			p.shows(`connected as "0042" with the key fleetprov-2`)
			p.interrupt()

			p = d.boot()
			p.shows(`connected as "0042" with the key fleetprov-2`)
			p.interrupt()

			stored, err := fleetprov.LoadCredentials(t.Context(), fleetprov.DirStore(d.state))
			require.NoError(t, err)
			assert.NotEmpty(t, stored.PreviousCertificateID)
			assert.Equal(t, []fleetprovtest.Thing{{
				Name:           "0042",
				Parameters:     map[string]string{"ThingName": "0042"},
				CertificateIDs: []string{stored.PreviousCertificateID, stored.CertificateID},
			}}, d.server.Things())
			assert.Equal(t, []string{"fleetprov-1", "fleetprov-2"}, d.keys())
			d.assertNoPrivateKeys()
		})
	}
}

func TestTheEmbeddedEndpoint(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d := &device{t: t, token: softhsm.New(t)}
	d.flags = []string{"-module", softhsm.Module, "-token", softhsm.Label}
	p := d.boot()
	p.shows("AWS_HOSTNAME is not set")
	p.shows(`connected as "0001" with the key fleetprov-1`)
	p.interrupt()
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Equal(t, []string{"embedded-fleetprov-1"}, d.keys(), "the keys for AWS are another matter")
}

// The claim's key is written to the token in the factory.
func TestTheClaimsKeyIsInTheToken(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	require.NoError(t, os.Remove(d.claim))
	claim := d.server.ClaimCertificate()
	der, err := x509.MarshalPKCS8PrivateKey(claim.PrivateKey)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(claim.Leaf.PublicKey)
	require.NoError(t, err)
	factory := t.TempDir()
	write := func(name, kind string, blocks ...[]byte) (path string) {
		var data []byte
		for _, der := range blocks {
			data = append(data, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
		}
		path = filepath.Join(factory, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	certificate := write("claim.pem", "CERTIFICATE", claim.Certificate[0], d.server.RootCertificate().Raw)
	d.token.Tool(t, "--write-object", write("claim.key", "PRIVATE KEY", der), "--type", "privkey", "--id", "01", "--label", "claim", "--usage-sign")
	d.token.Tool(t, "--write-object", write("claim.pub", "PUBLIC KEY", public), "--type", "pubkey", "--id", "01", "--label", "claim")
	require.NoError(t, os.Remove(filepath.Join(factory, "claim.key")))

	pin := filepath.Join(factory, "pin")
	require.NoError(t, os.WriteFile(pin, []byte(softhsm.PIN+"\n"), 0o600))
	p := d.boot("-claim", certificate, "-pin-file", pin)
	p.shows(`connected as "0042" with the key fleetprov-1`)
	p.interrupt()
	assert.Equal(t, []string{"claim", "fleetprov-1"}, d.keys())
	d.assertNoPrivateKeys()
}

func TestThePIN(t *testing.T) {
	file := func(data string) string {
		path := filepath.Join(t.TempDir(), "pin")
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		return path
	}
	environment := func(string) string { return "1234" }
	nothing := func(string) string { return "" }
	for name, test := range map[string]struct {
		file   string
		getenv func(string) string
		pin    string
		says   string
	}{
		"environment":            {"", environment, "1234", ""},
		"file":                   {file("5678"), environment, "5678", ""},
		"file with a line":       {file("5678\n"), nothing, "5678", ""},
		"file with blanks":       {file(" 56 78 \r\n"), nothing, " 56 78 ", ""},
		"nothing":                {"", nothing, "", "there is no PIN"},
		"empty file":             {file("\n"), nothing, "", "there is no PIN"},
		"file that is not there": {filepath.Join(t.TempDir(), "pin"), environment, "", "reading the PIN"},
	} {
		t.Run(name, func(t *testing.T) {
			pin, err := readPIN(test.file, test.getenv)
			assert.Equal(t, test.pin, pin)
			if test.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.says)
			}
		})
	}
}
