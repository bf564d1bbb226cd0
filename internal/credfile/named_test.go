package credfile_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/credfile"
)

// named is a file with ids as AWS IoT gives them, and the id of its certificate.
func named(t testing.TB) (file *credfile.File, id, abandoned string) {
	t.Helper()
	file = whole(t)
	digest := sha256.Sum256(file.Chain[0])
	file.CertificateID = hex.EncodeToString(digest[:])
	file.AbandonedCertificateIDs = []string{strings.Repeat("ab", 32)}
	return file, file.CertificateID, file.AbandonedCertificateIDs[0]
}

// Wherever one byte is damaged, the certificate is known by what is left.
func TestADamagedByteDoesNotHideTheCertificate(t *testing.T) {
	file, id, _ := named(t)
	data := marshal(t, file)
	for i := range data {
		damaged := []byte(string(data))
		damaged[i] ^= 1
		assert.Contains(t, credfile.Named(damaged), id, "byte %d of %q", i, data[max(0, i-10):i+1])
	}
}

func TestWhatDamagedFilesName(t *testing.T) {
	file, id, abandoned := named(t)
	data := marshal(t, file)
	all := blocks(data)
	without := func(kind string) []byte {
		before, rest, _ := strings.Cut(string(data), "-----BEGIN "+kind+"-----")
		_, after, _ := strings.Cut(rest, "-----END "+kind+"-----\n")
		return []byte(before + after)
	}
	wrongID := whole(t)
	wrongID.AbandonedCertificateIDs = []string{"an operator's note", abandoned, abandoned, strings.Repeat("zz", 32), abandoned + "00"}
	digest := sha256.Sum256(wrongID.Chain[0])
	for name, test := range map[string]struct {
		data []byte
		want []string
	}{
		"whole":                    {data, []string{abandoned, id}},
		"torn behind the first":    {data[:strings.Index(string(data), "-----BEGIN CERT")+100], []string{abandoned, id}},
		"torn in the first":        {data[:200], nil},
		"without its key":          {without("PRIVATE KEY"), []string{abandoned, id}},
		"without its metadata":     {data[strings.Index(string(data), "-----BEGIN CERT"):], []string{id}},
		"ids that are none":        {marshal(t, wrongID), []string{abandoned, hex.EncodeToString(digest[:])}},
		"behind something else":    {append([]byte("x\n"), data...), []string{abandoned, id}},
		"a certificate that isn't": {sealed(all[3]), nil},
		"nothing":                  {nil, nil},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, credfile.Named(test.data)) })
	}
}

func FuzzNamed(f *testing.F) {
	file, _, _ := named(f)
	f.Add(marshal(f, file))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, id := range credfile.Named(data) {
			assert.Len(t, id, 64)
		}
	})
}
