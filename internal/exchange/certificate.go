package exchange

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

const blockCertificate = "CERTIFICATE"

// The bounds of what AWS may give. A longer RSA key makes a handshake, or the look at
// it alone, last for seconds; a shorter one is not secure, and AWS issues none.
const (
	minRSA       = 2048
	maxRSA       = 8192    // what crypto/tls takes from a peer
	maxKey       = 5 << 10 // bytes of DER, a little more than an RSA key of maxRSA has
	maxChain     = 16      // certificates
	beginOfBlock = "-----BEGIN "
)

// parseChain reads the certificates of a PEM text, of which the first is the device's
// own. Each must be one: what cannot be parsed now is refused in a handshake later, or
// is damaged.
func parseChain(text string) (leaf *x509.Certificate, chain [][]byte, err error) {
	blocks, err := decodePEM(text)
	if err != nil {
		return nil, nil, badResponse("certificatePem: %w", err)
	}
	for _, block := range blocks {
		if block.Type != blockCertificate {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, nil, badResponse("certificatePem: certificate %d: %.200s", len(chain)+1, err)
		case len(chain) == maxChain:
			return nil, nil, badResponse("certificatePem holds more than %d certificates", maxChain)
		case leaf == nil:
			leaf = c
		}
		chain = append(chain, block.Bytes)
	}
	if leaf == nil {
		return nil, nil, badResponse("certificatePem holds no certificate%s", besides(blocks))
	}
	if public, ok := leaf.PublicKey.(*rsa.PublicKey); ok && (public.N.BitLen() < minRSA || public.N.BitLen() > maxRSA) {
		return nil, nil, badResponse("the certificate's key is RSA of %d bits, not %d to %d", public.N.BitLen(), minRSA, maxRSA)
	}
	return leaf, chain, nil
}

// findKey returns the block of a PEM text that is a private key, of a length that can
// be parsed in no time.
func findKey(text string) (*pem.Block, error) {
	blocks, err := decodePEM(text)
	if err != nil {
		return nil, badResponse("privateKey: %w", err)
	}
	for _, block := range blocks {
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue
		}
		if len(block.Bytes) > maxKey {
			return nil, badResponse("privateKey has %d bytes, more than an RSA key of %d bits", len(block.Bytes), maxRSA)
		}
		return block, nil
	}
	return nil, badResponse("privateKey holds no private key%s", besides(blocks))
}

// decodePEM returns all blocks of a text. Package pem passes over one that is damaged.
func decodePEM(text string) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks = append(blocks, block)
	}
	if begun := strings.Count(text, beginOfBlock); begun != len(blocks) {
		return nil, fmt.Errorf("of %d PEM blocks, %d can be decoded", begun, len(blocks))
	}
	return blocks, nil
}

// besides names the types of the first blocks of a text that does not hold the one
// that was looked for.
func besides(blocks []*pem.Block) string {
	if len(blocks) == 0 {
		return ", and no PEM block at all"
	}
	var types []string
	for _, block := range blocks[:min(len(blocks), 3)] {
		types = append(types, fmt.Sprintf("%.40q", block.Type))
	}
	return ", but PEM blocks of the type " + strings.Join(types, ", ")
}
