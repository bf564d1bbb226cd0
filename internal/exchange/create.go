package exchange

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
)

// Issued is a certificate that AWS IoT issued, not yet registered.
type Issued struct {
	ID    string // 64 hex characters
	Chain [][]byte
	Leaf  *x509.Certificate
	Key   crypto.Signer // nil when the key stayed with the device
	Token string        // the ownership token: a secret that is valid for an hour
}

// IDIsDigest reports whether the id is the SHA-256 of the certificate.
func (i *Issued) IDIsDigest() bool {
	digest := sha256.Sum256(i.Leaf.Raw)
	return strings.EqualFold(i.ID, hex.EncodeToString(digest[:]))
}

// certificate is the accepted answer of both operations that create a certificate.
type certificate struct {
	ID         string `json:"certificateId"`
	PEM        string `json:"certificatePem"`
	PrivateKey string `json:"privateKey"`
	Token      string `json:"certificateOwnershipToken"`
}

// CreateKeysAndCertificate asks for a key pair made by AWS and a certificate for it. AWS
// sends the private key only in this answer.
func (c *Client) CreateKeysAndCertificate(ctx context.Context, topic string) (*Issued, error) {
	answer, err := c.create(ctx, topic, nil)
	if err != nil {
		return nil, err
	}
	if answer.PrivateKey == "" {
		return nil, badResponse("there is no privateKey in it")
	}
	leaf, chain, err := parseChain(answer.PEM)
	if err != nil {
		return nil, err
	}
	key, err := findKey(answer.PrivateKey)
	if err != nil {
		return nil, err
	}
	// X509KeyPair accepts PKCS #1, PKCS #8 and SEC 1, and compares the public
	// keys.
	pair, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: chain[0]}), pem.EncodeToMemory(key))
	if err != nil {
		return nil, badResponse("certificatePem and privateKey: %.200s", err)
	}
	issued, err := answer.issued(leaf, chain)
	if err != nil {
		return nil, err
	}
	issued.Key = pair.PrivateKey.(crypto.Signer)
	return issued, nil
}

func (c *Client) create(ctx context.Context, topic string, payload []byte) (*certificate, error) {
	accepted, err := c.request(ctx, topic, payload)
	if err != nil {
		return nil, err
	}
	answer := new(certificate)
	if err := c.Format.Unmarshal(accepted, answer); err != nil {
		return nil, badResponse("%.200s", err)
	}
	return answer, nil
}

// maxToken is many times the length of an ownership token, which is written into a
// journal.
const maxToken = 16 << 10

func (a *certificate) issued(leaf *x509.Certificate, chain [][]byte) (*Issued, error) {
	_, err := hex.DecodeString(a.ID)
	switch {
	case err != nil || len(a.ID) != 64:
		return nil, badResponse("certificateId is not 64 hex characters")
	case a.Token == "":
		return nil, badResponse("there is no certificateOwnershipToken in it")
	case len(a.Token) > maxToken:
		return nil, badResponse("certificateOwnershipToken has %d bytes", len(a.Token))
	}
	return &Issued{ID: a.ID, Chain: chain, Leaf: leaf, Token: a.Token}, nil
}
