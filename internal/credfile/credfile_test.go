package credfile_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// hardware is a key that shows nothing but its public half.
type hardware struct{ crypto.Signer }

func (h hardware) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	panic("nobody has asked for a signature")
}

// whole returns a file with something in each of its fields.
func whole(t testing.TB) *credfile.File {
	t.Helper()
	ca := testca.New("a root")
	certificate := ca.Client("device", testca.Validity{})
	return &credfile.File{
		ThingName:             "größe \"7\"\n",
		CertificateID:         "0123456789abcdef",
		Chain:                 [][]byte{certificate.Certificate[0], ca.Certificate().Raw},
		Key:                   certificate.PrivateKey.(crypto.Signer),
		Endpoint:              "iot.example.com:8883",
		Roots:                 []*x509.Certificate{ca.Certificate(), testca.New("another root").Certificate()},
		DeviceConfiguration:   map[string]string{"FallbackUrl": "https://www.example.com/test-site", "": "<&>"},
		PreviousCertificateID: "fedcba9876543210",
	}
}

func marshal(t testing.TB, file *credfile.File) []byte {
	t.Helper()
	data, err := file.Marshal()
	require.NoError(t, err)
	return data
}

func TestRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*credfile.File){
		"everything":                 func(*credfile.File) {},
		"the certificate alone":      func(f *credfile.File) { *f = credfile.File{Chain: f.Chain[:1], Key: f.Key} },
		"a key in hardware":          func(f *credfile.File) { f.Key = nil },
		"a certificate that expired": func(f *credfile.File) { expire(t, f) },
	} {
		t.Run(name, func(t *testing.T) {
			file := whole(t)
			change(file)
			data := marshal(t, file)
			again, err := credfile.Parse(data)
			require.NoError(t, err)
			assert.Equal(t, file, again)
			assert.Equal(t, data, marshal(t, again), "byte for byte, so that what is stored need not be written again")
		})
	}
}

func expire(t *testing.T, f *credfile.File) {
	t.Helper()
	past := testca.New("a root").Client("device", testca.Validity{NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)})
	f.Chain, f.Key = past.Certificate, past.PrivateKey.(crypto.Signer)
}

// What is in hardware does not come back, and is not missed.
func TestAKeyInHardwareIsNotInTheFile(t *testing.T) {
	file := whole(t)
	file.Key = hardware{file.Key}
	assert.Nil(t, credfile.MarshalKey(file.Key))
	data := marshal(t, file)
	assert.NotContains(t, string(data), "PRIVATE KEY")
	again, err := credfile.Parse(data)
	require.NoError(t, err)
	file.Key = nil
	assert.Equal(t, file, again)
	assert.Nil(t, credfile.MarshalKey(nil))
}

// blocks decodes a file.
func blocks(data []byte) (all []*pem.Block) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block)
	}
	return all
}

// sealed encodes blocks, the first with a digest that is right.
func sealed(all ...*pem.Block) []byte {
	var rest []byte
	digest := sha256.New()
	for _, block := range all {
		text := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
		digest.Write(text)
		rest = append(rest, text...)
	}
	first := pem.EncodeToMemory(&pem.Block{Type: all[0].Type, Bytes: all[0].Bytes, Headers: map[string]string{"SHA256": hex.EncodeToString(digest.Sum(nil))}})
	bare := pem.EncodeToMemory(&pem.Block{Type: all[0].Type, Bytes: all[0].Bytes})
	return append(first, rest[len(bare):]...)
}

func TestFilesThatAreRefused(t *testing.T) {
	data := marshal(t, whole(t))
	all := blocks(data)
	require.Len(t, all, 4)
	metadata, leaf, issuer, key := all[0], all[1], all[2], all[3]
	require.Equal(t, data, sealed(all...), "what follows is refused for what it says")
	other := blocks(marshal(t, whole(t)))
	metadataWith := func(field string, value any) *pem.Block {
		var fields map[string]any
		require.NoError(t, json.Unmarshal(metadata.Bytes, &fields))
		fields[field] = value
		text, err := json.Marshal(fields)
		require.NoError(t, err)
		return &pem.Block{Type: metadata.Type, Bytes: text}
	}
	damaged := func(kind string) *pem.Block { return &pem.Block{Type: kind, Bytes: []byte("damaged")} }

	for name, test := range map[string]struct {
		data []byte
		says string
	}{
		"empty":                           {nil, "there is no FLEETPROV METADATA block"},
		"no PEM":                          {[]byte("credentials"), "there is no FLEETPROV METADATA block"},
		"a certificate and a key":         {append(pem.EncodeToMemory(leaf), pem.EncodeToMemory(key)...), "there is no FLEETPROV METADATA block"},
		"no certificate":                  {sealed(metadata, key), "have no certificate"},
		"no key":                          {sealed(metadata, leaf, issuer), "the private key is missing"},
		"another's key":                   {sealed(metadata, leaf, issuer, other[3]), "does not belong to the certificate"},
		"another's certificate":           {sealed(metadata, other[1], issuer, key), "does not belong to the certificate"},
		"certificates in the wrong order": {sealed(metadata, issuer, leaf, key), "does not belong to the certificate"},
		"two keys":                        {sealed(metadata, leaf, issuer, key, key), "unexpected PEM block"},
		"metadata twice":                  {sealed(metadata, metadata, leaf, issuer, key), "unexpected PEM block"},
		"a block of another kind":         {sealed(metadata, leaf, issuer, key, damaged("X509 CRL")), `unexpected PEM block "X509 CRL"`},
		"a damaged certificate":           {sealed(metadata, damaged("CERTIFICATE"), key), "the credentials' certificate"},
		"a damaged key":                   {sealed(metadata, leaf, issuer, damaged("PRIVATE KEY")), "the private key is damaged"},
		"damaged metadata":                {sealed(damaged(metadata.Type), leaf, issuer, key), "the metadata are damaged"},
		"a damaged root":                  {sealed(metadataWith("roots", [][]byte{{1}}), leaf, issuer, key), "a root certificate"},
		"a newer version":                 {sealed(metadataWith("version", 2), leaf, issuer, key), "version 2 and this program knows 1"},
		"no version":                      {sealed(metadataWith("version", nil), leaf, issuer, key), "version 0"},
		"a thing name that was changed":   {unsealed(metadata, metadataWith("thingName", "another"), leaf, issuer, key), "the digest is wrong"},
		"an issuer that was lost":         {unsealed(metadata, metadata, leaf, key), "the digest is wrong"},
		"no digest":                       {append(pem.EncodeToMemory(&pem.Block{Type: metadata.Type, Bytes: metadata.Bytes}), data[bytes.Index(data, []byte("-----BEGIN CERT")):]...), "the digest is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := credfile.Parse(test.data)
			assert.Nil(t, file)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

// unsealed encodes blocks, the first with the digest that another block had.
func unsealed(had *pem.Block, all ...*pem.Block) []byte {
	data := pem.EncodeToMemory(&pem.Block{Type: all[0].Type, Headers: had.Headers, Bytes: all[0].Bytes})
	for _, block := range all[1:] {
		data = append(data, pem.EncodeToMemory(block)...)
	}
	return data
}

func TestChain(t *testing.T) {
	chain := whole(t).Chain
	again, err := credfile.ParseChain(credfile.MarshalChain(chain))
	require.NoError(t, err)
	assert.Equal(t, chain, again)
	leaf, err := credfile.ParseLeaf(chain)
	require.NoError(t, err)
	assert.Equal(t, "device", leaf.Subject.CommonName, "the first is the device's own")

	again, err = credfile.ParseChain(nil)
	require.NoError(t, err)
	assert.Empty(t, again)
	_, err = credfile.ParseLeaf(nil)
	assert.ErrorContains(t, err, "no certificate")
	_, err = credfile.ParseLeaf([][]byte{{1}})
	assert.ErrorContains(t, err, "the credentials' certificate")
	again, err = credfile.ParseChain(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
	assert.Nil(t, again)
	assert.ErrorContains(t, err, `a block of type "PRIVATE KEY"`)
}

// FuzzParse: an error means a nil result, and what is accepted can be written and read
// again.
func FuzzParse(f *testing.F) {
	data := marshal(f, whole(f))
	all := blocks(data)
	f.Add(data)
	f.Add([]byte{})
	f.Add(data[:len(data)/2])
	f.Add(sealed(all[0], all[1]))
	f.Add(sealed(&pem.Block{Type: all[0].Type, Bytes: []byte(`{"version":1,"hardwareKey":true}`)}, all[1]))
	f.Fuzz(func(t *testing.T, data []byte) {
		// A fuzzer does not find a digest; so each input is tried with the one it
		// should have, too.
		inputs := [][]byte{data}
		if all := blocks(data); len(all) > 0 {
			inputs = append(inputs, sealed(all...))
		}
		for _, data := range inputs {
			file, err := credfile.Parse(data)
			if err != nil {
				assert.Nil(t, file)
				continue
			}
			require.NotEmpty(t, file.Chain)
			again, err := credfile.Parse(marshal(t, file))
			require.NoError(t, err)
			assert.Equal(t, file, again)
		}
	})
}
