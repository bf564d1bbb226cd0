package pfx

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/fleetprov/fleetprov/internal/keys"
)

// newBundle gives each certificate its part.
func newBundle(key crypto.Signer, certificates []*x509.Certificate) (*Bundle, error) {
	b, public := &Bundle{Key: key}, key.Public()
	var others []*x509.Certificate
	for _, certificate := range certificates {
		switch {
		case !keys.Same(public, certificate.PublicKey):
			if !slices.ContainsFunc(others, certificate.Equal) {
				others = append(others, certificate)
			}
		case b.Leaf == nil || certificate.NotAfter.After(b.Leaf.NotAfter):
			b.Leaf = certificate
		}
	}
	if b.Leaf == nil {
		return nil, fmt.Errorf("none of the file's certificates (%d) belongs to its private key: export the key together with its own certificate", len(certificates))
	}

	var signatures signatureCheck
	path := []*x509.Certificate{b.Leaf}
	for last := b.Leaf; !selfIssued(last); {
		next := slices.IndexFunc(others, func(c *x509.Certificate) bool {
			return !slices.Contains(path, c) && signatures.issued(c, last)
		})
		if next < 0 {
			break
		}
		last = others[next]
		path = append(path, last)
	}
	b.Chain = path[1:]
	for _, certificate := range others {
		// A CA that has certificates by itself and by another may be in the
		// chain with one and in the file with the other too.
		inChain := slices.ContainsFunc(path, func(c *x509.Certificate) bool { return signatures.issued(certificate, c) })
		if !inChain && isCA(certificate) && selfIssued(certificate) && signatures.issued(certificate, certificate) {
			b.Roots = append(b.Roots, certificate)
		}
	}
	if signatures > maxSignatures {
		return nil, errors.New("the file has too many certificates of the same name")
	}
	return b, nil
}

// maxSignatures is more than certificates with different names need: one for
// each that is self-signed, and one or two for each in the chain.
const maxSignatures = maxCertificates + 64

// signatureCheck counts the signatures it has verified, of which it verifies
// maxSignatures and takes the others to be wrong.
type signatureCheck int

// issued reports whether child was signed by parent. It asks neither for the
// parent's right to sign nor for a signature that TLS would still accept: where
// a certificate belongs is a matter of fact, and trust is decided in the
// handshake.
func (n *signatureCheck) issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	if key, ok := parent.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
		return false
	}
	if *n++; *n > maxSignatures {
		return false
	}
	return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) == nil
}

// maxRSA is the longest RSA key that crypto/tls takes from a peer, in bits.
const maxRSA = 8192

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// isCA accepts certificates of version 1 and 2, which cannot say what they are.
func isCA(c *x509.Certificate) bool { return c.IsCA || c.Version < 3 }
