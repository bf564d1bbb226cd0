package tpmkeys

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// signTime bounds a signature, for which a [crypto.Signer] has no context. The error is
// then os.ErrDeadlineExceeded: context.DeadlineExceeded would be the caller's deadline.
const signTime = 30 * time.Second

// signer is a key in the TPM. It is loaded for each signature.
type signer struct {
	tpm    *tpm
	file   *keyFile
	public crypto.PublicKey
}

func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer]. The TPM takes its own random numbers.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), signTime, os.ErrDeadlineExceeded)
	defer cancel()
	scheme, err := s.scheme(opts)
	if err != nil {
		return nil, err
	}
	return use(ctx, s.tpm, func(t transport.TPM) (signature []byte, err error) {
		err = withKey(t, s.file, func(key tpm2.NamedHandle) error {
			signed, err := tpm2.Sign{
				KeyHandle:  key,
				Digest:     tpm2.TPM2BDigest{Buffer: digest},
				InScheme:   scheme,
				Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
			}.Execute(t)
			if err != nil {
				return fmt.Errorf("signing: %w", err)
			}
			signature, err = encode(signed.Signature)
			return err
		})
		return signature, err
	})
}

var hashes = map[crypto.Hash]tpm2.TPMAlgID{
	crypto.SHA256: tpm2.TPMAlgSHA256,
	crypto.SHA384: tpm2.TPMAlgSHA384,
	crypto.SHA512: tpm2.TPMAlgSHA512,
}

// scheme is how the TPM is to sign.
func (s *signer) scheme(opts crypto.SignerOpts) (none tpm2.TPMTSigScheme, err error) {
	hash, ok := hashes[opts.HashFunc()]
	if !ok {
		return none, fmt.Errorf("the TPM is not asked for signatures with the hash %v", opts.HashFunc())
	}
	pss, isPSS := opts.(*rsa.PSSOptions)
	_, isRSA := s.public.(*rsa.PublicKey)
	switch {
	case !isRSA:
		return newScheme(tpm2.TPMAlgECDSA, hash), nil
	case !isPSS:
		return newScheme(tpm2.TPMAlgRSASSA, hash), nil
	case pss.SaltLength == rsa.PSSSaltLengthAuto, pss.SaltLength == rsa.PSSSaltLengthEqualsHash, pss.SaltLength == pss.HashFunc().Size():
		return newScheme(tpm2.TPMAlgRSAPSS, hash), nil
	default:
		return none, errors.New("a TPM makes RSA-PSS signatures with a salt as long as the hash")
	}
}

func newScheme(algorithm, hash tpm2.TPMAlgID) tpm2.TPMTSigScheme {
	return tpm2.TPMTSigScheme{
		Scheme:  algorithm,
		Details: tpm2.NewTPMUSigScheme(algorithm, &tpm2.TPMSSchemeHash{HashAlg: hash}),
	}
}

// encode gives a signature the form that crypto/tls and crypto/x509 know.
func encode(signature tpm2.TPMTSignature) ([]byte, error) {
	switch signature.SigAlg {
	case tpm2.TPMAlgECDSA:
		ecdsa, err := signature.Signature.ECDSA()
		if err != nil {
			return nil, err
		}
		r, s := new(big.Int).SetBytes(ecdsa.SignatureR.Buffer), new(big.Int).SetBytes(ecdsa.SignatureS.Buffer)
		return asn1.Marshal(struct{ R, S *big.Int }{r, s})
	case tpm2.TPMAlgRSAPSS:
		pss, err := signature.Signature.RSAPSS()
		if err != nil {
			return nil, err
		}
		return pss.Sig.Buffer, nil
	default:
		ssa, err := signature.Signature.RSASSA()
		if err != nil {
			return nil, err
		}
		return ssa.Sig.Buffer, nil
	}
}
