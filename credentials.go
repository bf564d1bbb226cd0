package fleetprov

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/keys"
	"github.com/fleetprov/fleetprov/internal/pfx"
)

// Credentials are what a provisioned device keeps for life. They are safe to
// print, to log and to embed: the private key is not among the exported fields.
// A copy shares the key.
type Credentials struct {
	ThingName             string              // empty if AWS named none
	CertificateID         string              // 64 hex characters
	CertificatePEM        []byte              // the device's certificate
	Endpoint              string              // host:port it was provisioned at
	Roots                 []*x509.Certificate // server roots that came with the claim; Amazon's need no mention
	DeviceConfiguration   map[string]string   // nil if the template has none; a value that is not a string is kept as JSON text
	PreviousCertificateID string              // of the certificate these replace, which may be deactivated now

	// AbandonedCertificateIDs are of certificates that may be active and that no device
	// has: a registration was asked for and not heard of again, or the file that held
	// them is damaged. They may be deactivated. See [Provisioner.Ensure].
	AbandonedCertificateIDs []string

	// KeyLabel is the label of the private key in a [Keyring], or empty. UseKeyring
	// finds the key after a reload.
	KeyLabel string

	private *privateKey // behind a pointer, where no verb of fmt reaches it
}

type privateKey struct{ signer crypto.Signer }

var (
	errNoKey    = fmt.Errorf("fleetprov: %w: if it lives in hardware, give it with UseKeyring or SetPrivateKey", ErrKeyMissing)
	errHardware = errors.New("fleetprov: the private key lives in hardware and cannot be written to a file")
	errJSON     = errors.New("fleetprov: credentials have no JSON form, which would lose the private key: use MarshalPEM")
)

// PrivateKeyPEM returns the private key as PKCS #8 PEM, or nil when it lives in
// hardware or there is none. It is a secret: a file for it must not be readable
// by others from the moment it is made.
func (c *Credentials) PrivateKeyPEM() []byte {
	if c.private == nil {
		return nil
	}
	return credfile.MarshalKey(c.private.signer)
}

// SetPrivateKey gives the credentials a key that lives in hardware, after they
// were loaded without it. It fails with [ErrKeyMissing] if key is nil, and with
// [ErrKeyMismatch] if it is not the certificate's.
func (c *Credentials) SetPrivateKey(key crypto.Signer) error {
	if err := c.setKey(key); err != nil {
		return fmt.Errorf("fleetprov: %w", err)
	}
	return nil
}

func (c *Credentials) setKey(key crypto.Signer) error {
	leaf, _, err := c.chain()
	if err != nil {
		return err
	}
	if keys.IsNil(key) {
		return fmt.Errorf("%w: it is nil", ErrKeyMissing)
	}
	if err := checkBelongs(key, leaf); err != nil {
		return err
	}
	c.private = &privateKey{key}
	return nil
}

// checkBelongs refuses a key that is not the certificate's. Hardware that does not
// answer says nothing of whose key it has.
func checkBelongs(key crypto.Signer, leaf *x509.Certificate) error {
	public := key.Public()
	switch {
	case keys.IsNil(public):
		return errors.New("the private key does not tell its public half: does the hardware answer?")
	case !keys.Same(public, leaf.PublicKey):
		return fmt.Errorf("the private key does not belong to the certificate: %w", ErrKeyMismatch)
	default:
		return nil
	}
}

// TLSCertificate returns the certificate and its key for use with crypto/tls. It
// fails with [ErrKeyMissing] if the key lives in hardware and was not given by
// [Credentials.SetPrivateKey] or [Credentials.UseKeyring].
func (c *Credentials) TLSCertificate() (tls.Certificate, error) {
	leaf, chain, err := c.chain()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fleetprov: %w", err)
	}
	if c.private == nil {
		return tls.Certificate{}, errNoKey
	}
	if err := checkBelongs(c.private.signer, leaf); err != nil {
		return tls.Certificate{}, fmt.Errorf("fleetprov: %w", err)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: c.private.signer, Leaf: leaf}, nil
}

// TLSConfig returns what an MQTT client needs to connect to the endpoint as the
// device: the certificate, the server name, Amazon's roots and those of the
// claim, and ALPN if the port is 443. Set RootCAs on it if the device was
// provisioned with [WithRootCAs]. The client id should be the thing name, which
// policies often ask for.
func (c *Credentials) TLSConfig() (*tls.Config, error) {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return nil, err
	}
	endpoint, err := iotendpoint.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}
	config := endpoint.TLSConfig(nil, iotendpoint.Trust(c.Roots), &certificate)
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}

// Identity returns the credentials as an identity to connect with, for renewing
// them. It connects under the thing name.
func (c *Credentials) Identity() (*Identity, error) {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return nil, err
	}
	identity, err := NewIdentity(certificate, c.Roots...)
	if err != nil {
		return nil, err
	}
	identity.clientID = c.ThingName
	return identity, nil
}

// EncodePFX returns the credentials as a PFX (PKCS #12) file with AES-256, the
// certificate, its key and Roots, which OpenSSL 3 and [ParsePFX] open. It fails
// if the key lives in hardware.
func (c *Credentials) EncodePFX(password string) ([]byte, error) {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return nil, err
	}
	if c.PrivateKeyPEM() == nil {
		return nil, errHardware
	}
	var others []*x509.Certificate
	for _, der := range certificate.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("fleetprov: the credentials' certificate chain: %w", err)
		}
		others = append(others, issuer)
	}
	data, err := pfx.Encode(certificate.PrivateKey, certificate.Leaf, append(others, c.Roots...), password)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: making the PFX: %w", err)
	}
	return data, nil
}

// MarshalJSON always fails: JSON would lose the private key without a word. Use
// [Credentials.MarshalPEM]. Its receiver is no pointer, so that a copy inside
// another struct fails too.
func (Credentials) MarshalJSON() ([]byte, error) { return nil, errJSON }

// MarshalPEM returns all of the credentials as one PEM file: a block of the type
// FLEETPROV METADATA, the certificate, and the private key as PKCS #8 unless it
// lives in hardware. Programs that take a certificate and a key as PEM files take
// this one for both. [ParseCredentials] reads it back. It is a secret.
func (c *Credentials) MarshalPEM() ([]byte, error) {
	file, err := c.file()
	if err != nil {
		return nil, err
	}
	data, err := file.Marshal()
	if err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}
	return data, nil
}

// ParseCredentials reads what [Credentials.MarshalPEM] wrote. Credentials whose
// key lives in hardware come back without it: give it with
// [Credentials.UseKeyring] or [Credentials.SetPrivateKey]. Validity in time is not looked at.
func ParseCredentials(data []byte) (*Credentials, error) {
	file, err := credfile.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: reading credentials: %w", err)
	}
	return newCredentials(file), nil
}

// newCredentials gives what a file holds its public form. The caller may change it.
func newCredentials(file *credfile.File) *Credentials {
	c := &Credentials{
		ThingName:             file.ThingName,
		CertificateID:         file.CertificateID,
		CertificatePEM:        credfile.MarshalChain(file.Chain),
		Endpoint:              file.Endpoint,
		Roots:                 file.Roots,
		DeviceConfiguration:   maps.Clone(file.DeviceConfiguration),
		PreviousCertificateID: file.PreviousCertificateID,

		AbandonedCertificateIDs: slices.Clone(file.AbandonedCertificateIDs),
		KeyLabel:                file.KeyLabel,
	}
	if file.Key != nil {
		c.private = &privateKey{file.Key}
	}
	return c
}

// file returns the credentials as a file holds them. It fails if the key is missing,
// or not the certificate's.
func (c *Credentials) file() (*credfile.File, error) {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return nil, err
	}
	return &credfile.File{
		ThingName:             c.ThingName,
		CertificateID:         c.CertificateID,
		Chain:                 certificate.Certificate,
		Key:                   c.private.signer,
		Endpoint:              c.Endpoint,
		Roots:                 c.Roots,
		DeviceConfiguration:   maps.Clone(c.DeviceConfiguration),
		PreviousCertificateID: c.PreviousCertificateID,

		AbandonedCertificateIDs: slices.Clone(c.AbandonedCertificateIDs),
		KeyLabel:                c.KeyLabel,
	}, nil
}

// chain decodes CertificatePEM.
func (c *Credentials) chain() (*x509.Certificate, [][]byte, error) {
	chain, err := credfile.ParseChain(c.CertificatePEM)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := credfile.ParseLeaf(chain)
	return leaf, chain, err
}

// stored is what the store holds as credentials.
type stored struct {
	credentials *Credentials // nil if there are none, or they cannot be read
	data        []byte       // what they were read from
	unreadable  error        // why they cannot be read
	expired     bool         // by the device's clock
	unverified  bool         // they are to be verified, and may never have been
}

// isSound reports whether there is nothing left to do.
func (s *stored) isSound() bool { return s.credentials != nil && !s.expired && !s.unverified }

// lack says what is wrong with them, if they are not sound.
func (s *stored) lack() string {
	switch {
	case s.unreadable != nil:
		return fmt.Sprintf("the stored credentials cannot be read (%v)", s.unreadable)
	case s.credentials == nil:
		return "there are no credentials in the store"
	case s.expired:
		return "the stored credentials have expired by this clock"
	default:
		return "the stored credentials have not been verified yet"
	}
}

// notDue is the error of credentials that have expired and that the claim is not to
// replace yet, after a failure a while ago; otherwise it is nil.
func (s *stored) notDue(past *backoff.Past) error {
	wait, last := past.Left()
	if !s.expired || wait <= 0 {
		return nil
	}
	op := OpPrepare
	if failure := new(Error); errors.As(last, &failure) {
		op, last = failure.Op, failure.Err
	}
	return &Error{Op: op, CertificateID: s.id(), Err: fmt.Errorf("%s, and others are asked for again in %v at the earliest: %w", s.lack(), wait.Round(time.Second), last)}
}

// id is the id of the stored certificate, if it can be read.
func (s *stored) id() string {
	if s.credentials == nil {
		return ""
	}
	return s.credentials.CertificateID
}
