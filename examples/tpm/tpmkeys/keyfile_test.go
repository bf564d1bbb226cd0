package tpmkeys

import (
	"encoding/pem"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is a file with a public half that is whole.
func sample() *keyFile {
	public := template(P256)
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
		Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
	})
	return &keyFile{
		Public:  tpm2.Marshal(tpm2.New2B(public)),
		Private: tpm2.Marshal(tpm2.TPM2BPrivate{Buffer: []byte("encrypted")}),
	}
}

// The form is that of draft-bottomley-tpm2-keys, section 3.1.
func TestKeyFile(t *testing.T) {
	data := sample().encode()
	block, rest := pem.Decode(data)
	require.NotNil(t, block)
	assert.Empty(t, rest)
	assert.Equal(t, "TSS2 PRIVATE KEY", block.Type)
	assert.Contains(t, string(block.Bytes), string([]byte{
		0x06, 0x06, 0x67, 0x81, 0x05, 0x0a, 0x01, 0x03, // id-loadablekey
		0xa0, 0x03, 0x01, 0x01, 0xff, // emptyAuth
		0x02, 0x04, 0x40, 0x00, 0x00, 0x01, // TPM_RH_OWNER
	}))
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().encode())
	f.Add([]byte("-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := decode(data)
		if err != nil {
			require.Nil(t, file)
			return
		}
		again, err := decode(file.encode())
		require.NoError(t, err)
		require.Equal(t, file, again)
	})
}
