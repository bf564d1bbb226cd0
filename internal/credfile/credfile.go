// Package credfile writes and reads the one PEM file that holds a device's
// credentials.
package credfile

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/fleetprov/fleetprov/internal/keys"
)

// The blocks of the file. OpenSSL does not take headers on a CERTIFICATE block, and a
// root behind the device's certificate would be sent as part of its chain; so all but
// the certificate and the key is in a block of its own.
const (
	blockMetadata    = "FLEETPROV METADATA"
	blockCertificate = "CERTIFICATE"
	blockPrivateKey  = "PRIVATE KEY"
)

// headerDigest is the header of the metadata block that holds a digest over all
// blocks. Worn flash memory may flip a bit anywhere, and nothing else would show it
// in a thing name or in the signature of a certificate.
const headerDigest = "SHA256"

const version = 1

// File is what the file holds. Its fields are those of the public type Credentials.
type File struct {
	ThingName             string
	CertificateID         string
	Chain                 [][]byte      // DER, the device's own certificate first
	Key                   crypto.Signer // nil if it lives in hardware and was not given yet
	Endpoint              string
	Roots                 []*x509.Certificate
	DeviceConfiguration   map[string]string
	PreviousCertificateID string

	AbandonedCertificateIDs []string
	KeyLabel                string // of the key in a keyring
}

// metadata is the JSON in the metadata block.
type metadata struct {
	Version               int               `json:"version"`
	ThingName             string            `json:"thingName,omitempty"`
	CertificateID         string            `json:"certificateId,omitempty"`
	Endpoint              string            `json:"endpoint,omitempty"`
	Roots                 [][]byte          `json:"roots,omitempty"` // DER
	DeviceConfiguration   map[string]string `json:"deviceConfiguration,omitempty"`
	PreviousCertificateID string            `json:"previousCertificateId,omitempty"`
	Abandoned             []string          `json:"abandonedCertificateIds,omitempty"`
	KeyLabel              string            `json:"keyLabel,omitempty"`

	// HardwareKey tells a file that never had a key from one that lost it.
	HardwareKey bool `json:"hardwareKey,omitempty"`
}

// Marshal returns the file. It has no private key if that lives in hardware.
func (f *File) Marshal() ([]byte, error) {
	key := MarshalKey(f.Key)
	m := metadata{
		Version:               version,
		ThingName:             f.ThingName,
		CertificateID:         f.CertificateID,
		Endpoint:              f.Endpoint,
		DeviceConfiguration:   f.DeviceConfiguration,
		PreviousCertificateID: f.PreviousCertificateID,
		Abandoned:             f.AbandonedCertificateIDs,
		KeyLabel:              f.KeyLabel,
		HardwareKey:           key == nil,
	}
	for _, root := range f.Roots {
		m.Roots = append(m.Roots, root.Raw)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	rest := append(MarshalChain(f.Chain), key...)
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

// MarshalChain returns certificates as PEM, in their order.
func MarshalChain(chain [][]byte) []byte {
	var text []byte
	for _, der := range chain {
		text = append(text, encodeBlock(blockCertificate, der)...)
	}
	return text
}

// MarshalKey returns a private key as PKCS #8 PEM, or nil if it lives in hardware or
// there is none.
func MarshalKey(key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil
	}
	return encodeBlock(blockPrivateKey, der)
}

func encodeBlock(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

// Parse reads what [File.Marshal] wrote. It does not look at validity in time.
func Parse(data []byte) (*File, error) {
	var (
		m       *metadata
		written string
		digest  = sha256.New()
		f       = new(File)
	)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var err error
		digest.Write(encodeBlock(block.Type, block.Bytes))
		switch {
		case block.Type == blockMetadata && m == nil:
			written = block.Headers[headerDigest]
			m, err = parseMetadata(block.Bytes)
		case block.Type == blockCertificate:
			f.Chain = append(f.Chain, block.Bytes)
		case block.Type == blockPrivateKey && f.Key == nil:
			f.Key, err = parseKey(block.Bytes)
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
	if err := f.fill(m); err != nil {
		return nil, err
	}
	if written != hex.EncodeToString(digest.Sum(nil)) {
		return nil, errors.New("the digest is wrong: the file is damaged")
	}
	return f, nil
}

// fill adds the metadata, and checks that all parts belong together.
func (f *File) fill(m *metadata) error {
	leaf, err := ParseLeaf(f.Chain)
	if err != nil {
		return err
	}
	switch {
	case f.Key == nil && !m.HardwareKey:
		return errors.New("the private key is missing: the file is damaged")
	case f.Key != nil && !keys.Same(f.Key.Public(), leaf.PublicKey):
		return errors.New("the private key does not belong to the certificate: the file is damaged")
	}
	for _, der := range m.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a root certificate: %w", err)
		}
		f.Roots = append(f.Roots, root)
	}
	f.ThingName = m.ThingName
	f.CertificateID = m.CertificateID
	f.Endpoint = m.Endpoint
	f.DeviceConfiguration = m.DeviceConfiguration
	f.PreviousCertificateID = m.PreviousCertificateID
	f.AbandonedCertificateIDs = m.Abandoned
	f.KeyLabel = m.KeyLabel
	return nil
}

// ParseChain reads what [MarshalChain] wrote.
func ParseChain(text []byte) ([][]byte, error) {
	var chain [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != blockCertificate {
			return nil, fmt.Errorf("the credentials' CertificatePEM holds a block of type %.40q", block.Type)
		}
		chain = append(chain, block.Bytes)
	}
	return chain, nil
}

// ParseLeaf reads the first certificate of a chain, which is the device's own.
func ParseLeaf(chain [][]byte) (*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("the credentials have no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("the credentials' certificate: %w", err)
	}
	return leaf, nil
}

// DecodeJSON decodes JSON into v. Its error names a field, and not the type of v.
func DecodeJSON(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	if kind := new(json.UnmarshalTypeError); errors.As(err, &kind) {
		return fmt.Errorf("%s is of another kind", cmp.Or(kind.Field, "the JSON"))
	}
	return err
}

func parseMetadata(text []byte) (*metadata, error) {
	m := new(metadata)
	if err := DecodeJSON(text, m); err != nil {
		return nil, fmt.Errorf("the metadata are damaged: %w", err)
	}
	if m.Version != version {
		return nil, fmt.Errorf("the metadata have version %d and this program knows %d", m.Version, version)
	}
	return m, nil
}

func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the private key is damaged: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key is of a kind that cannot sign")
	}
	return signer, nil
}
