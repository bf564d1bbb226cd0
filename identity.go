package fleetprov

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/fleetprov/fleetprov/internal/keys"
	"github.com/fleetprov/fleetprov/internal/pfx"
)

// Identity is a certificate and its private key, with which a device
// authenticates to AWS IoT: the claim of its batch, or its own. It is safe for
// concurrent use.
type Identity struct {
	leaf  *x509.Certificate
	roots []*x509.Certificate

	// certificate is behind a pointer, where no verb of fmt reaches its key.
	certificate *tls.Certificate

	// clientID is the thing name of an identity that is a device's own.
	clientID string
}

// LoadPFX reads a PFX (PKCS #12) file and opens it as [ParsePFX] does. An error
// of the file system can be tested with errors.Is(err, fs.ErrNotExist) and the
// like.
func LoadPFX(path, password string) (*Identity, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: reading the claim: %w", err)
	}
	identity, err := parsePFX(data, password)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: opening %s: %w", path, err)
	}
	return identity, nil
}

// ParsePFX opens a PFX (PKCS #12) file that holds a private key and its
// certificate, such as
//
//	openssl pkcs12 -export -out claim_identity.pfx -inkey private.pem.key -in certificate.pem.crt -certfile root-ca.pem
//
// makes. The certificate of the private key is the identity's own wherever it
// stands in the file; those that issued it go with it; self-signed authorities
// that did not issue it are trusted as roots of the server. PEM armour and
// bytes behind the file are accepted.
//
// A password that does not open the file is [ErrIncorrectPassword]. Validity in
// time is not looked at here, but when the identity is used.
func ParsePFX(data []byte, password string) (*Identity, error) {
	identity, err := parsePFX(data, password)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: opening the PFX: %w", err)
	}
	return identity, nil
}

func parsePFX(data []byte, password string) (*Identity, error) {
	bundle, err := pfx.Parse(data, password)
	if err != nil {
		return nil, err
	}
	certificate := tls.Certificate{PrivateKey: bundle.Key, Leaf: bundle.Leaf}
	for _, c := range append([]*x509.Certificate{bundle.Leaf}, bundle.Chain...) {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return NewIdentity(certificate, bundle.Roots...)
}

// NewIdentity makes an identity of a certificate whose PrivateKey is any
// [crypto.Signer]: one read by [tls.LoadX509KeyPair], or one in a TPM, a secure
// element or a PKCS #11 token. Roots are trusted as roots of the server, beside
// Amazon's. It fails if the key is no signer or does not belong to the
// certificate.
func NewIdentity(cert tls.Certificate, roots ...*x509.Certificate) (*Identity, error) {
	if len(cert.Certificate) == 0 {
		return nil, errors.New("fleetprov: the identity has no certificate")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("fleetprov: the identity's certificate: %w", err)
	}
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok || keys.IsNil(signer) {
		return nil, errors.New("fleetprov: the identity's private key is not a crypto.Signer")
	}
	if err := checkBelongs(signer, leaf); err != nil {
		return nil, fmt.Errorf("fleetprov: the identity: %w", err)
	}
	if slices.Contains(roots, nil) {
		return nil, errors.New("fleetprov: a root certificate is nil")
	}
	cert.Leaf = leaf
	return &Identity{leaf: leaf, roots: slices.Clone(roots), certificate: &cert}, nil
}

// Certificate returns the identity's own certificate, or nil if the identity
// was not made by this package.
func (i *Identity) Certificate() *x509.Certificate { return i.leaf }

// Roots returns the roots of the server that came with the identity. Amazon's
// are built in and need no mention.
func (i *Identity) Roots() []*x509.Certificate { return slices.Clone(i.roots) }
