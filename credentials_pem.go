package fleetprov

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// The blocks of the file that MarshalPEM writes. Headers on a CERTIFICATE block
// break OpenSSL, and a root behind the device's certificate would be sent as part
// of its chain, so that what is more than certificate and key has a block of its
// own.
const (
	blockMetadata    = "FLEETPROV METADATA"
	blockCertificate = "CERTIFICATE"
	blockPrivateKey  = "PRIVATE KEY"
)

// headerDigest is the header of the metadata block that holds a digest over all
// blocks. A worn flash memory may flip a bit anywhere: in a thing name or a
// certificate's signature nothing else would tell.
const headerDigest = "SHA256"

const metadataVersion = 1

// metadata is the JSON in the metadata block.
type metadata struct {
	Version               int               `json:"version"`
	ThingName             string            `json:"thingName,omitempty"`
	CertificateID         string            `json:"certificateId,omitempty"`
	Endpoint              string            `json:"endpoint,omitempty"`
	Roots                 [][]byte          `json:"roots,omitempty"` // DER
	DeviceConfiguration   map[string]string `json:"deviceConfiguration,omitempty"`
	PreviousCertificateID string            `json:"previousCertificateId,omitempty"`

	// HardwareKey tells a file that never had a key from one that lost it.
	HardwareKey bool `json:"hardwareKey,omitempty"`
}

// MarshalPEM returns all of the credentials as one PEM file: a block of the type
// FLEETPROV METADATA, the certificate, and the private key as PKCS #8 unless it
// lives in hardware. Programs that take a certificate and a key as PEM files take
// this one for both. [ParseCredentials] reads it back. It is a secret.
func (c *Credentials) MarshalPEM() ([]byte, error) {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return nil, err
	}
	key := c.PrivateKeyPEM()
	m := metadata{
		Version:               metadataVersion,
		ThingName:             c.ThingName,
		CertificateID:         c.CertificateID,
		Endpoint:              c.Endpoint,
		DeviceConfiguration:   c.DeviceConfiguration,
		PreviousCertificateID: c.PreviousCertificateID,
		HardwareKey:           key == nil,
	}
	for _, root := range c.Roots {
		m.Roots = append(m.Roots, root.Raw)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}
	var rest []byte
	for _, der := range certificate.Certificate {
		rest = append(rest, encodeBlock(blockCertificate, der)...)
	}
	rest = append(rest, key...)
	digest := sha256.New()
	digest.Write(encodeBlock(blockMetadata, text))
	digest.Write(rest)
	first := pem.EncodeToMemory(&pem.Block{
		Type:    blockMetadata,
		Headers: map[string]string{headerDigest: hex.EncodeToString(digest.Sum(nil))},
		Bytes:   text,
	})
	return append(first, rest...), nil
}

func encodeBlock(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

// ParseCredentials reads what [Credentials.MarshalPEM] wrote. Credentials whose
// key lives in hardware come back without it: give it with
// [Credentials.SetPrivateKey]. Validity in time is not looked at.
func ParseCredentials(data []byte) (*Credentials, error) {
	c, err := parseCredentials(data)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: reading credentials: %w", err)
	}
	return c, nil
}

func parseCredentials(data []byte) (*Credentials, error) {
	var (
		m       *metadata
		written string
		digest  = sha256.New()
		c       = new(Credentials)
	)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var err error
		text := encodeBlock(block.Type, block.Bytes)
		digest.Write(text)
		switch {
		case block.Type == blockMetadata && m == nil:
			written = block.Headers[headerDigest]
			m, err = parseMetadata(block.Bytes)
		case block.Type == blockCertificate:
			c.CertificatePEM = append(c.CertificatePEM, text...)
		case block.Type == blockPrivateKey && c.private == nil:
			c.private, err = parsePrivateKey(block.Bytes)
		default:
			err = fmt.Errorf("unexpected PEM block %.40q", block.Type)
		}
		if err != nil {
			return nil, err
		}
	}
	if m == nil {
		return nil, fmt.Errorf("there is no %s block: this is not a file of MarshalPEM, or it is damaged", blockMetadata)
	}
	if err := c.fill(m); err != nil {
		return nil, err
	}
	if written != hex.EncodeToString(digest.Sum(nil)) {
		return nil, errors.New("the digest is wrong: the file is damaged")
	}
	return c, nil
}

// fill adds what the metadata tell, and checks that all belongs together.
func (c *Credentials) fill(m *metadata) error {
	leaf, _, err := c.chain()
	if err != nil {
		return err
	}
	switch {
	case c.private == nil && !m.HardwareKey:
		return errors.New("the private key is missing: the file is damaged")
	case c.private != nil && !samePublicKey(c.private.signer.Public(), leaf.PublicKey):
		return errors.New("the private key does not belong to the certificate: the file is damaged")
	}
	for _, der := range m.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a root certificate: %w", err)
		}
		c.Roots = append(c.Roots, root)
	}
	c.ThingName = m.ThingName
	c.CertificateID = m.CertificateID
	c.Endpoint = m.Endpoint
	c.DeviceConfiguration = m.DeviceConfiguration
	c.PreviousCertificateID = m.PreviousCertificateID
	return nil
}

func parseMetadata(text []byte) (*metadata, error) {
	m := new(metadata)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("the metadata are damaged: %w", err)
	}
	if m.Version != metadataVersion {
		return nil, fmt.Errorf("the metadata have version %d and this program knows %d", m.Version, metadataVersion)
	}
	return m, nil
}

func parsePrivateKey(der []byte) (*privateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the private key is damaged: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the private key is a %T, which cannot sign", key)
	}
	return &privateKey{signer}, nil
}
