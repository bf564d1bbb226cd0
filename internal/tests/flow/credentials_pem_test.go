package flow_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestCredentialsFileGivesBackEverything(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site", "Interval": "60", "Größe": "<&>\u2028"}
	server.Start()
	defer server.Close()
	plain := provtest.NewServer(t)

	rotated := provtest.Provisioned(t, server)
	rotated.PreviousCertificateID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	rotated.Roots = append(rotated.Roots, testca.New("another root").Certificate())
	nameless := provtest.Provisioned(t, plain)
	nameless.ThingName, nameless.Endpoint, nameless.CertificateID, nameless.Roots = "", "", "", nil
	chained := provtest.Provisioned(t, plain)
	chained.CertificatePEM = append(slices.Clone(chained.CertificatePEM), provtest.PEM("CERTIFICATE", testca.New("an issuer").Certificate().Raw)...)
	rows := map[string]*fleetprov.Credentials{
		"with a key made by AWS":        provtest.Provisioned(t, server),
		"with a key made on the device": provtest.Provisioned(t, server, fleetprov.WithGeneratedKey()),
		"without a configuration":       provtest.Provisioned(t, plain),
		"after a rotation":              rotated,
		"with nothing but its key":      nameless,
		"with an issuer":                chained,
	}
	for name, key := range devicekeyAccepted(t) {
		rows["with the caller's key, "+name] = provtest.Provisioned(t, server, fleetprov.WithPrivateKey(key))
	}
	for name, credentials := range rows {
		t.Run(name, func(t *testing.T) {
			data, err := credentials.MarshalPEM()
			require.NoError(t, err)
			again, err := fleetprov.ParseCredentials(data)
			require.NoError(t, err)
			require.Equal(t, credentials, again)
			twice, err := again.MarshalPEM()
			require.NoError(t, err)
			assert.Equal(t, string(data), string(twice))
		})
	}
	assertConnects(t, server, reloaded(t, provtest.Provisioned(t, server)))
}

// reloaded is credentials after they were written and read.
func reloaded(t *testing.T, credentials *fleetprov.Credentials) *fleetprov.Credentials {
	t.Helper()
	data, err := credentials.MarshalPEM()
	require.NoError(t, err)
	again, err := fleetprov.ParseCredentials(data)
	require.NoError(t, err)
	return again
}

// Programs stop at the first certificate they find, and choke on headers
// in front of it. They pass over a block of a type they do not know.
func TestCredentialsFileHasThreeKindsOfBlocks(t *testing.T) {
	credentials := provtest.Provisioned(t, provtest.NewServer(t))
	data, err := credentials.MarshalPEM()
	require.NoError(t, err)
	blocks := provtest.PEMBlocks(data)
	require.Len(t, blocks, 3)
	assert.Equal(t, "FLEETPROV METADATA", blocks[0].Type)
	assert.Equal(t, "CERTIFICATE", blocks[1].Type)
	assert.Equal(t, "PRIVATE KEY", blocks[2].Type)
	assert.Empty(t, blocks[1].Headers)
	assert.Empty(t, blocks[2].Headers)
	assert.NotContains(t, string(data), string(provtest.PEM("CERTIFICATE", credentials.Roots[0].Raw)), "a root would be sent as the client's chain")
	assert.Empty(t, secretsOf(t, credentialsKey(t, credentials)).in(string(blocks[0].Bytes)))

	var metadata map[string]any
	require.NoError(t, json.Unmarshal(blocks[0].Bytes, &metadata))
	assert.Equal(t, credentials.ThingName, metadata["thingName"])
	assert.Equal(t, credentials.CertificateID, metadata["certificateId"])
}

func TestFilesThatAreNoCredentials(t *testing.T) {
	certificate := testca.New("a root").Client("AWS IoT Certificate", testca.Validity{})
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		data string
		says string
	}{
		"an empty file": {"", "no FLEETPROV METADATA block"},
		"a text":        {"Dear customer,\n", "no FLEETPROV METADATA block"},
		"a certificate and a key of another program": {string(provtest.PEM("CERTIFICATE", certificate.Leaf.Raw)) + string(provtest.PEM("PRIVATE KEY", key)),
			"no FLEETPROV METADATA block"},
		"a key in another form":             {string(provtest.PEM("EC PRIVATE KEY", []byte{1})), `unexpected PEM block "EC PRIVATE KEY"`},
		"metadata that are no JSON":         {string(provtest.PEM("FLEETPROV METADATA", []byte("{"))), "metadata are damaged"},
		"metadata of a wrong type":          {string(provtest.PEM("FLEETPROV METADATA", []byte(`{"version":1,"thingName":7}`))), "metadata are damaged: thingName is of another kind"},
		"metadata from the future":          {string(provtest.PEM("FLEETPROV METADATA", []byte(`{"version":2}`))), "version 2 and this program knows 1"},
		"metadata without a version":        {string(provtest.PEM("FLEETPROV METADATA", []byte(`{}`))), "version 0"},
		"metadata alone":                    {string(provtest.PEM("FLEETPROV METADATA", []byte(`{"version":1}`))), "no certificate"},
		"a key that is none":                {string(provtest.PEM("PRIVATE KEY", []byte("key"))), "private key is damaged"},
		"a certificate that is none":        {string(provtest.PEM("FLEETPROV METADATA", []byte(`{"version":1}`))) + string(provtest.PEM("CERTIFICATE", []byte("x"))), "certificate"},
		"a block type of forty thousand As": {"-----BEGIN " + longA + "-----\n-----END " + longA + "-----\n", "unexpected PEM block"},
	} {
		t.Run(name, func(t *testing.T) {
			credentials, err := fleetprov.ParseCredentials([]byte(test.data))
			assert.Nil(t, credentials)
			require.ErrorContains(t, err, test.says)
			assert.Less(t, len(err.Error()), 512)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

var longA = string(bytes.Repeat([]byte("A"), 40_000))

// Each part of a file is needed, once, and as it was.
func TestCredentialsFileWithBlocksAmiss(t *testing.T) {
	server := provtest.NewServer(t)
	for name, opts := range map[string][]fleetprov.Option{
		"with a key made by AWS":        nil,
		"with a key made on the device": {fleetprov.WithGeneratedKey()},
		"with a key in hardware":        {fleetprov.WithPrivateKey(provtest.HardwareKey{Signer: devicekeyP256(t)})},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := provtest.Provisioned(t, server, opts...)
			data, err := credentials.MarshalPEM()
			require.NoError(t, err)
			another, err := provtest.Provisioned(t, server, opts...).MarshalPEM()
			require.NoError(t, err)
			blocks, others := provtest.PEMBlocks(data), provtest.PEMBlocks(another)
			require.Len(t, others, len(blocks))
			for i, block := range blocks {
				assertDamaged(t, join(slices.Delete(slices.Clone(blocks), i, i+1)), "%s missing", block.Type)
				assertDamaged(t, join(slices.Insert(slices.Clone(blocks), i, block)), "%s twice", block.Type)
				assertDamaged(t, join(append(slices.Clone(blocks), block)), "%s again at the end", block.Type)
				assertDamaged(t, join(append(slices.Clone(blocks), others[i])), "another device's %s at the end", block.Type)
				if !bytes.Equal(block.Bytes, others[i].Bytes) {
					swapped := slices.Clone(blocks)
					swapped[i] = others[i]
					assertDamaged(t, join(swapped), "another device's %s", block.Type)
				}
				for j := range i {
					moved := slices.Clone(blocks)
					moved[i], moved[j] = moved[j], moved[i]
					assertDamaged(t, join(moved), "%s in the place of %s", block.Type, moved[j].Type)
				}
			}
		})
	}
}

func join(blocks []*pem.Block) []byte {
	var data []byte
	for _, block := range blocks {
		data = append(data, pem.EncodeToMemory(block)...)
	}
	return data
}

func assertDamaged(t *testing.T, data []byte, what string, args ...any) {
	t.Helper()
	credentials, err := fleetprov.ParseCredentials(data)
	assert.Error(t, err, what, args)
	assert.Nil(t, credentials, what, args)
}

func TestCredentialsFileTruncated(t *testing.T) {
	credentials := provtest.Provisioned(t, provtest.NewServer(t), fleetprov.WithGeneratedKey())
	data, err := credentials.MarshalPEM()
	require.NoError(t, err)
	for n := range data {
		assertEqualOrDamaged(t, credentials, data[:n], "the first %d bytes", n)
		assertEqualOrDamaged(t, credentials, data[n:], "all but the first %d bytes", n)
	}
	for _, n := range []int{1, 2, 100, len(data) / 2} {
		assertDamaged(t, data[:len(data)-n-1], "all but the last %d bytes", n+1)
	}
}

func TestCredentialsFileWithABitFlipped(t *testing.T) {
	server := provtest.NewServer(t)
	for name, opts := range map[string][]fleetprov.Option{
		"with a key made on the device": {fleetprov.WithGeneratedKey()},
		"with a key in hardware":        {fleetprov.WithPrivateKey(provtest.HardwareKey{Signer: devicekeyP256(t)})},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := provtest.Provisioned(t, server, opts...)
			data, err := credentials.MarshalPEM()
			require.NoError(t, err)
			want, err := fleetprov.ParseCredentials(data)
			require.NoError(t, err)
			for n := range data {
				bit := n % 8 // all eight would take a minute under the race detector
				flipped := bytes.Clone(data)
				flipped[n] ^= 1 << bit
				assertEqualOrDamaged(t, want, flipped, "bit %d of byte %d", bit, n)
			}
		})
	}
}

// assertEqualOrDamaged parses data, which must give an error, or all of want.
func assertEqualOrDamaged(t *testing.T, want *fleetprov.Credentials, data []byte, what string, args ...any) {
	t.Helper()
	credentials, err := fleetprov.ParseCredentials(data)
	if err != nil {
		if credentials != nil {
			t.Errorf("an error and a result: "+what, args...)
		}
		return
	}
	if !assert.ObjectsAreEqual(want, credentials) {
		t.Errorf("believed in spite of "+what, args...)
	}
}

func TestCredentialsFileThroughAnEditor(t *testing.T) {
	credentials := provtest.Provisioned(t, provtest.NewServer(t))
	data, err := credentials.MarshalPEM()
	require.NoError(t, err)
	for name, edited := range map[string][]byte{
		"the newlines of Windows":  bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")),
		"no newline at the end":    bytes.TrimRight(data, "\n"),
		"a comment at the top":     append([]byte("# made by fleetprov\n"), data...),
		"empty lines at the end":   append(slices.Clone(data), "\n\n"...),
		"empty lines in between":   bytes.ReplaceAll(data, []byte("-----BEGIN"), []byte("\n\n-----BEGIN")),
		"trailing bytes of a page": append(slices.Clone(data), make([]byte, 512)...),
	} {
		t.Run(name, func(t *testing.T) {
			again, err := fleetprov.ParseCredentials(edited)
			require.NoError(t, err)
			assert.Equal(t, credentials, again)
		})
	}
}

func FuzzParseCredentials(f *testing.F) {
	server := provtest.NewServer(f)
	for _, option := range []fleetprov.Option{nil, fleetprov.WithGeneratedKey()} {
		credentials, err := provtest.NewProvisioner(f, server, option).Provision(f.Context(), nil)
		require.NoError(f, err)
		data, err := credentials.MarshalPEM()
		require.NoError(f, err)
		f.Add(data)
		f.Add(data[:len(data)/2])
		blocks := provtest.PEMBlocks(data)
		f.Add(join(blocks[1:]))
		f.Add(join(blocks[:2]))
		blocks[0].Bytes = []byte(`{"version":1,"hardwareKey":true,"roots":["AAAA",null],"deviceConfiguration":{"a":"b"}}`)
		f.Add(join(blocks))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// The digest would keep nearly all inputs from being read.
		for _, data := range [][]byte{data, sealed(data)} {
			credentials, err := fleetprov.ParseCredentials(data)
			if err != nil {
				if credentials != nil {
					t.Fatal("an error and a result")
				}
				continue
			}
			if credentials.PrivateKeyPEM() == nil {
				continue // the key is in hardware
			}
			again, err := credentials.MarshalPEM()
			require.NoError(t, err)
			read, err := fleetprov.ParseCredentials(again)
			require.NoError(t, err)
			require.Equal(t, credentials.CertificatePEM, read.CertificatePEM)
			require.Equal(t, credentials.PrivateKeyPEM(), read.PrivateKeyPEM())
			require.Equal(t, credentials.ThingName, read.ThingName)
			require.Equal(t, credentials.Endpoint, read.Endpoint)
			require.Equal(t, len(credentials.Roots), len(read.Roots))
		}
	})
}

// sealed gives a file the digest that it should have.
func sealed(data []byte) []byte {
	blocks := provtest.PEMBlocks(data)
	var plain []byte
	for _, block := range blocks {
		plain = append(plain, provtest.PEM(block.Type, block.Bytes)...)
	}
	digest := sha256.Sum256(plain)
	for _, block := range blocks {
		block.Headers = nil
		if block.Type == "FLEETPROV METADATA" {
			block.Headers = map[string]string{"SHA256": hex.EncodeToString(digest[:])}
		}
	}
	return join(blocks)
}

func TestSealedFilesAreRead(t *testing.T) {
	data, err := provtest.Provisioned(t, provtest.NewServer(t)).MarshalPEM()
	require.NoError(t, err)
	blocks := provtest.PEMBlocks(data)
	blocks[0].Headers = nil
	assertDamaged(t, join(blocks), "without a digest")
	assert.Equal(t, string(data), string(sealed(join(blocks))), "the fuzz test reads what it means to")
}

func TestTypeOfABlockIsQuoted(t *testing.T) {
	credentials := &fleetprov.Credentials{CertificatePEM: provtest.PEM("\x1b[31m"+strings.Repeat("X", 9999), nil)}
	_, err := credentials.TLSCertificate()
	assert.ErrorContains(t, err, `"\x1b[31mXXX`)
	assert.Less(t, len(err.Error()), 200)
}
