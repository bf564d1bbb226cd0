package amazonroots

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The fingerprints are SHA-256 over the certificate, the public key hashes SHA-256
// over its SubjectPublicKeyInfo as https://www.amazontrust.com/repository/ lists them.
var published = []struct {
	commonName, fingerprint, publicKeyHash, debianFile string
}{
	{
		"Amazon Root CA 1",
		"8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
		"fbe3018031f9586bcbf41727e417b7d1c45c2f47f93be372a17b96b50757d5a2",
		"Amazon_Root_CA_1.crt",
	},
	{
		"Amazon Root CA 2",
		"1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
		"7f4296fc5b6a4e3b35d3c369623e364ab1af381d8fa7121533c9d6c633ea2461",
		"Amazon_Root_CA_2.crt",
	},
	{
		"Amazon Root CA 3",
		"18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
		"36abc32656acfc645c61b71613c4bf21c787f5cabbee48348d58597803d7abc9",
		"Amazon_Root_CA_3.crt",
	},
	{
		"Amazon Root CA 4",
		"e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
		"f7ecded5c66047d28ed6466b543c40e0743abe81d109254dcf845d4c2c7853c5",
		"Amazon_Root_CA_4.crt",
	},
	{
		"Starfield Services Root Certificate Authority - G2",
		"568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
		"2b071c59a0a0ae76b0eadb2bad23bad4580b69c3601b630c2eaf0613afa83f92",
		"Starfield_Services_Root_Certificate_Authority_-_G2.crt",
	},
}

func TestCertificatesAreThePublishedRoots(t *testing.T) {
	roots := Certificates()
	require.Len(t, roots, len(published))
	for i, want := range published {
		t.Run(want.commonName, func(t *testing.T) {
			root := roots[i]
			assert.Equal(t, want.commonName, root.Subject.CommonName)
			assert.Equal(t, want.fingerprint, hash(root.Raw))
			assert.Equal(t, want.publicKeyHash, hash(root.RawSubjectPublicKeyInfo))
			assert.True(t, root.IsCA)
			assert.Equal(t, root.RawSubject, root.RawIssuer)
			assert.NoError(t, root.CheckSignatureFrom(root))
		})
	}
}

func TestCertificatesAreTheSystemsOwn(t *testing.T) {
	const store = "/usr/share/ca-certificates/mozilla/"
	if _, err := os.Stat(store); err != nil {
		t.Skip("Debian's ca-certificates is not installed")
	}
	for i, want := range published {
		t.Run(want.commonName, func(t *testing.T) {
			data, err := os.ReadFile(store + want.debianFile)
			require.NoError(t, err)
			block, _ := pem.Decode(data)
			require.NotNil(t, block)
			system, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err)
			assert.True(t, Certificates()[i].Equal(system))
		})
	}
}

func TestCertificatesReturnsASliceOfItsOwn(t *testing.T) {
	Certificates()[0] = nil
	assert.NotNil(t, Certificates()[0])
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
