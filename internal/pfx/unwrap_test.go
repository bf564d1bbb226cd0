package pfx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
)

func TestWhatIsNotPKCS12IsNamed(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	pkcs1 := x509.MarshalPKCS1PrivateKey(key)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	certificate := issue(t, nil, "device", key).Raw
	read := func(name string) []byte { return testFile{File: name}.read(t) }
	pfx, err := os.ReadFile("testdata/noiter.p12")
	require.NoError(t, err)
	armor := func(blockType string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
	}
	tests := map[string]struct {
		data []byte
		err  string
	}{
		"nothing":                        {nil, "the file is empty"},
		"a certificate in PEM":           {armor("CERTIFICATE", certificate), "holds a certificate in PEM, not PKCS#12"},
		"an OpenSSL certificate in PEM":  {armor("TRUSTED CERTIFICATE", certificate), "holds a certificate in PEM, not PKCS#12"},
		"a certificate in DER":           {certificate, "holds what may be a certificate in DER, not PKCS#12"},
		"a request in PEM":               {armor("CERTIFICATE REQUEST", certificate), "holds a certificate signing request in PEM, not PKCS#12"},
		"a PKCS#8 key in PEM":            {armor("PRIVATE KEY", pkcs8), "holds a private key in PEM, not PKCS#12"},
		"an encrypted PKCS#8 key in PEM": {armor("ENCRYPTED PRIVATE KEY", pkcs8), "holds an encrypted private key (PKCS#8) in PEM, not PKCS#12"},
		"an RSA key in PEM":              {armor("RSA PRIVATE KEY", pkcs1), "holds a private key in PEM, not PKCS#12"},
		"a public key in PEM":            {armor("PUBLIC KEY", pkcs8), "holds a public key in PEM, not PKCS#12"},
		"a PKCS#8 key in DER":            {pkcs8, "holds what may be a private key in DER, not PKCS#12"},
		"an RSA key in DER":              {pkcs1, "holds what may be a private key in DER, not PKCS#12"},
		"an EC key in DER":               {sec1, "holds what may be a private key in DER, not PKCS#12"},
		"PKCS#12 in base64":              {[]byte(base64.StdEncoding.EncodeToString(pfx)), "in base64: decode it: openssl base64 -d"},
		"a Java keystore":                {[]byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2}, "a Java keystore (JKS), not PKCS#12: convert it: keytool -importkeystore"},
		"a Java keystore with keys":      {[]byte{0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2}, "a Java keystore (JCEKS), not PKCS#12: convert it: keytool -importkeystore"},
		"a BKS keystore":                 {read("bouncycastle.bks"), "a Bouncy Castle keystore (BKS), not PKCS#12: convert it: keytool -importkeystore"},
		"a UBER keystore":                {read("bouncycastle.uber"), "a Bouncy Castle keystore (UBER, or BKS of version 1), not PKCS#12: convert it: keytool"},
		"a BCFKS keystore":               {read("bouncycastle.bcfks"), "a Bouncy Castle keystore (BCFKS), not PKCS#12: convert it: keytool -importkeystore"},
		"PKCS#7 in DER":                  {read("p7b.p12"), "certificates without a private key (PKCS#7, .p7b), not PKCS#12: put them together with the key: openssl pkcs7 -inform DER"},
		"PKCS#7 in PEM":                  {armor("PKCS7", read("p7b.p12")), "certificates without a private key (PKCS#7, .p7b), not PKCS#12: put them together with the key: openssl pkcs7 -inform PEM"},
		"CMS that is encrypted":          {build(func(b *cryptobyte.Builder) { addContentInfo(b, oidEnvelopedData, func(*cryptobyte.Builder) {}) }), "a message in PKCS#7 or CMS, not PKCS#12"},
		"an encrypted PKCS#8 key in DER": {read("encp8.p12"), "an encrypted private key in DER (PKCS#8), not PKCS#12"},
		"a public key in DER":            {public, "holds what may be a public key in DER, not PKCS#12"},
		"a database of NSS":              {[]byte("SQLite format 3\x00"), "a database, as NSS keeps certificates in: export the certificate with its key: pk12util"},
		"a zip archive":                  {[]byte("PK\x03\x04"), "a zip archive: unpack it first"},
		"text":                           {[]byte("<html>404 Not Found</html>\n"), "not a PKCS#12 file but text"},
		"zeros":                          {make([]byte, 3000), "not a PKCS#12 file"},
		"armour with nothing inside":     {armor("PKCS12", nil), "not a PKCS#12 file"},
		"armour around text":             {armor("PKCS12", []byte("hello")), "not a PKCS#12 file"},
		"a lone SEQUENCE tag":            {[]byte{0x30}, "damaged or cut short"},
		"an empty SEQUENCE":              {[]byte{0x30, 0}, "damaged"},
		"PKCS#12 of version 2":           {bytes.Replace(pfx, []byte{2, 1, 3}, []byte{2, 1, 2}, 1), "of version 2, where 3 is the only one in use, or damaged"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(test.data, "secret")
			checkError(t, b, err)
			assert.ErrorContains(t, err, test.err)
			assert.NotErrorIs(t, err, ErrIncorrectPassword)
		})
	}
}

func TestArmourAndWhatIsAroundTheFileAreTaken(t *testing.T) {
	pfx, err := os.ReadFile("testdata/noiter.p12")
	require.NoError(t, err)
	armored := pem.EncodeToMemory(&pem.Block{Type: "PKCS12", Bytes: pfx})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := map[string][]byte{
		"nothing around":                   pfx,
		"a newline behind":                 join(pfx, []byte("\n")),
		"zeros up to a page of flash":      join(pfx, make([]byte, 4096-len(pfx))),
		"erased flash behind":              join(pfx, bytes.Repeat([]byte{0xff}, 1000)),
		"itself again behind":              join(pfx, pfx),
		"armour":                           armored,
		"armour and text before":           join([]byte("Bag Attributes: <No Attributes>\n"), armored),
		"a byte order mark before":         join([]byte("\ufeff"), armored),
		"armour with Windows line endings": bytes.ReplaceAll(armored, []byte("\n"), []byte("\r\n")),
		"armour of another name":           pem.EncodeToMemory(&pem.Block{Type: "PFX", Bytes: pfx}),
		"armour around trailing bytes":     pem.EncodeToMemory(&pem.Block{Type: "PKCS12", Bytes: join(pfx, []byte("\n"))}),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(data, "secret")
			require.NoError(t, err)
			checkBundle(t, b)
		})
	}
}
