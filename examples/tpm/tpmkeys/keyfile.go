package tpmkeys

import (
	"crypto"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// keyFile is a key as it is stored: both halves as the TPM gave them, the private one
// encrypted.
type keyFile struct {
	Public, Private []byte // TPM2B_PUBLIC and TPM2B_PRIVATE
}

// The file is a PEM block "TSS2 PRIVATE KEY", which OpenSSL's TPM providers read, too
// (draft-bottomley-tpm2-keys).
const blockType = "TSS2 PRIVATE KEY"

var loadableKey = asn1.ObjectIdentifier{2, 23, 133, 10, 1, 3}

type tss2Key struct {
	Type      asn1.ObjectIdentifier
	EmptyAuth bool `asn1:"explicit,optional,tag:0"`
	Parent    int64
	Public    []byte
	Private   []byte
}

func (f *keyFile) encode() []byte {
	der, err := asn1.Marshal(tss2Key{
		Type:      loadableKey,
		EmptyAuth: true,
		Parent:    int64(tpm2.TPMRHOwner), // below the storage root key
		Public:    f.Public,
		Private:   f.Private,
	})
	if err != nil {
		panic(err) // it has no value that DER cannot express
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

// decode accepts what encode writes.
func decode(data []byte) (*keyFile, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("there is no PEM block %q", blockType)
	}
	var key tss2Key
	rest, err := asn1.Unmarshal(block.Bytes, &key)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0, !key.Type.Equal(loadableKey), key.Parent != int64(tpm2.TPMRHOwner):
		return nil, errors.New("it is not a key below the storage root key")
	}
	file := &keyFile{Public: key.Public, Private: key.Private}
	if _, err := file.public(); err != nil {
		return nil, err
	}
	return file, nil
}

// parts returns what TPM2_Load takes.
func (f *keyFile) parts() (tpm2.TPM2BPublic, tpm2.TPM2BPrivate, error) {
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](f.Public)
	if err != nil {
		return tpm2.TPM2BPublic{}, tpm2.TPM2BPrivate{}, fmt.Errorf("its public half: %w", err)
	}
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](f.Private)
	if err != nil {
		return tpm2.TPM2BPublic{}, tpm2.TPM2BPrivate{}, fmt.Errorf("its private half: %w", err)
	}
	return *public, *private, nil
}

func (f *keyFile) public() (crypto.PublicKey, error) {
	public, _, err := f.parts()
	if err != nil {
		return nil, err
	}
	contents, err := public.Contents()
	if err != nil {
		return nil, fmt.Errorf("its public half: %w", err)
	}
	return tpm2.Pub(*contents)
}
