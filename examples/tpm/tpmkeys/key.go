package tpmkeys

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// withParent gives do the storage root key: P-256, by the template of the TCG's EK
// Credential Profile, section B.4.5 (H-2). It is not kept in the TPM, which makes the
// same one each time from the seed of its storage hierarchy. The hierarchy's password
// is the empty one.
func withParent(t transport.TPM, do func(tpm2.NamedHandle) error) error {
	template := tpm2.ECCSRKTemplate
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, new(tpm2.TPMSECCPoint))
	parent, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template)}.Execute(t)
	if err != nil {
		return fmt.Errorf("the storage root key: %w", err)
	}
	defer tpm2.FlushContext{FlushHandle: parent.ObjectHandle}.Execute(t)
	return do(tpm2.NamedHandle{Handle: parent.ObjectHandle, Name: parent.Name})
}

// create makes a key.
func create(t transport.TPM, algorithm Algorithm) (file *keyFile, err error) {
	err = withParent(t, func(parent tpm2.NamedHandle) error {
		made, err := tpm2.Create{ParentHandle: parent, InPublic: tpm2.New2B(template(algorithm))}.Execute(t)
		if err != nil {
			return err
		}
		file = &keyFile{Public: tpm2.Marshal(made.OutPublic), Private: tpm2.Marshal(made.OutPrivate)}
		return nil
	})
	return file, err
}

// template is a key that signs, in this TPM only, and needs no password. The scheme is
// left open: a certificate signing request with an RSA key is signed by PKCS #1, and a
// handshake of TLS 1.3 by RSA-PSS.
func template(algorithm Algorithm) tpm2.TPMTPublic {
	public := tpm2.TPMTPublic{
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true,
			SignEncrypt:         true,
		},
	}
	if algorithm == RSA2048 {
		public.Type = tpm2.TPMAlgRSA
		public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048})
	} else {
		public.Type = tpm2.TPMAlgECC
		public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256})
	}
	return public
}

// withKey loads a key for do. Two objects are in the TPM at once, which has room for
// three at least.
func withKey(t transport.TPM, file *keyFile, do func(tpm2.NamedHandle) error) error {
	public, private, err := file.parts()
	if err != nil {
		return err
	}
	return withParent(t, func(parent tpm2.NamedHandle) error {
		loaded, err := tpm2.Load{ParentHandle: parent, InPublic: public, InPrivate: private}.Execute(t)
		if errors.Is(err, tpm2.TPMRCIntegrity) {
			return fmt.Errorf("another TPM has made it, or this one was cleared since (%w): %w", err, fs.ErrNotExist)
		}
		if err != nil {
			return err
		}
		defer tpm2.FlushContext{FlushHandle: loaded.ObjectHandle}.Execute(t)
		return do(tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name})
	})
}
