package credfile

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"slices"
)

// Named returns the ids of the certificates that a damaged file still tells of: its
// own, and those that were given up before. Some may be no certificate's, since the
// damage may be in them.
func Named(data []byte) (ids []string) {
	name := func(id string) {
		if isID(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	data = bytes.ReplaceAll(data, []byte("-----BEGIN"), []byte("\n-----BEGIN")) // a line may have lost its end
	own := false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case blockMetadata:
			var m metadata
			_ = json.Unmarshal(block.Bytes, &m) // as much of it as there is
			for _, id := range m.Abandoned {
				name(id)
			}
			name(m.CertificateID)
		case blockCertificate:
			if _, err := x509.ParseCertificate(block.Bytes); err == nil && !own {
				// It is the id of every certificate of AWS IoT.
				digest := sha256.Sum256(block.Bytes)
				name(hex.EncodeToString(digest[:]))
				own = true
			}
		}
	}
	return ids
}

// isID reports whether AWS IoT could have given a certificate that id.
func isID(id string) bool {
	digest, err := hex.DecodeString(id)
	return err == nil && len(digest) == sha256.Size
}
