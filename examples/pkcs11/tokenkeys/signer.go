package tokenkeys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/miekg/pkcs11"
)

// signTime bounds a signature, for which a [crypto.Signer] has no context. The error is
// then os.ErrDeadlineExceeded: context.DeadlineExceeded would be the caller's deadline.
const signTime = 30 * time.Second

// signer is a key pair in a token. It is found anew for each signature.
type signer struct {
	token  *token
	label  string
	id     []byte
	public crypto.PublicKey
}

func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer]. The token takes its own random numbers.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	mechanism, input, err := s.mechanism(digest, opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), signTime, os.ErrDeadlineExceeded)
	defer cancel()
	signature, err := use(ctx, s.token, func(t *session) ([]byte, error) {
		private, err := t.private(s.label, pkcs11.NewAttribute(pkcs11.CKA_ID, s.id))
		if err != nil {
			return nil, err
		}
		if err := t.library.SignInit(t.handle, []*pkcs11.Mechanism{mechanism}, private); err != nil {
			return nil, err
		}
		return t.library.Sign(t.handle, input)
	})
	if err != nil {
		return nil, fmt.Errorf("signing with the key %s: %w", s.label, err)
	}
	if _, isRSA := s.public.(*rsa.PublicKey); isRSA {
		return signature, nil
	}
	return encodeECDSA(signature)
}

// hash is what PKCS #11 and X.509 call a hash function.
type hash struct {
	mechanism, mask uint
	oid             asn1.ObjectIdentifier
}

var hashes = map[crypto.Hash]hash{
	crypto.SHA256: {pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
	crypto.SHA384: {pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
	crypto.SHA512: {pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}},
}

// mechanism is how the token is to sign, and what.
func (s *signer) mechanism(digest []byte, opts crypto.SignerOpts) (*pkcs11.Mechanism, []byte, error) {
	hash, ok := hashes[opts.HashFunc()]
	if !ok || len(digest) != opts.HashFunc().Size() {
		return nil, nil, fmt.Errorf("the token is not asked to sign %d bytes for the hash %v", len(digest), opts.HashFunc())
	}
	if key, ok := s.public.(*ecdsa.PublicKey); ok {
		// A hash that is longer than the curve's order is cut (FIPS 186-5, section 6.4.1),
		// which not every token does.
		return pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest[:min(len(digest), key.Params().BitSize/8)], nil
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		salt := pss.SaltLength
		if salt == rsa.PSSSaltLengthAuto || salt == rsa.PSSSaltLengthEqualsHash {
			salt = pss.HashFunc().Size()
		}
		params := pkcs11.NewPSSParams(hash.mechanism, hash.mask, uint(salt))
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, params), digest, nil
	}
	// CKM_RSA_PKCS pads, but does not say which hash it was (RFC 8017, section 9.2).
	info, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: hash.oid, Parameters: asn1.NullRawValue}, digest})
	return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil), info, err
}

// encodeECDSA gives the two numbers of a signature the form that crypto/tls and
// crypto/x509 know.
func encodeECDSA(signature []byte) ([]byte, error) {
	half := len(signature) / 2
	if half == 0 || len(signature)%2 != 0 {
		return nil, errors.New("the token's signature is not two numbers of one length")
	}
	r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}
