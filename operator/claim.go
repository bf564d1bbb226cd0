package operator

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/amazonroots"
	"github.com/fleetprov/fleetprov/internal/pfx"
)

// Claim is a claim certificate and its private key: what a device provisions itself with. It
// is safe to print, since the key is not among its exported fields.
type Claim struct {
	CertificateID string // 64 hex digits

	// Expires is when AWS IoT stops taking the claim, which need not be when its certificate
	// ends. Zero: when it is deactivated.
	Expires time.Time

	certificate *x509.Certificate
	key         *claimKey // behind a pointer, where no verb of fmt reaches it
}

type claimKey struct{ signer crypto.Signer }

// Identity returns the claim as a device uses it: see [fleetprov.New]. It does not know
// Expires: of itself a run ends with the certificate, and where AWS IoT stops taking the claim
// before that, the run goes on trying. A context with the deadline Expires bounds it by both.
func (c *Claim) Identity() (*fleetprov.Identity, error) {
	return fleetprov.NewIdentity(tls.Certificate{
		Certificate: [][]byte{c.certificate.Raw},
		PrivateKey:  c.key.signer,
		Leaf:        c.certificate,
	})
}

// PFX returns the claim as a PFX (PKCS #12) file, which [fleetprov.LoadPFX] opens. The root
// is what a device trusts besides Amazon's roots, which the library has built in; nil means
// Amazon Root CA 1, for other programs that read the file. The file is encrypted with
// AES-256 and a key of 2,048 iterations of PBKDF2: enough for a password that was drawn at
// random, as [NewPassword] does, and not for one that somebody has thought of.
func (c *Claim) PFX(password string, root *x509.Certificate) ([]byte, error) {
	if root == nil {
		root = amazonroots.Certificates()[0]
	}
	return pfx.Encode(c.key.signer, c.certificate, []*x509.Certificate{root}, password)
}

// PEM returns the claim as a certificate and a private key (PKCS #8), one behind the other.
// It is a secret.
func (c *Claim) PEM() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.key.signer)
	if err != nil {
		return nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.certificate.Raw})
	return append(certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

// parseCertificate reads the certificate that AWS IoT answers with.
func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("AWS IoT sent no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
