package pfx

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func requireOpenSSL3(t *testing.T) {
	version, err := exec.Command("openssl", "version").Output()
	if err != nil || !strings.HasPrefix(string(version), "OpenSSL 3") {
		t.Skip("no OpenSSL 3 here")
	}
}

// commandsOf returns the OpenSSL commands at the end of an error's message.
func commandsOf(err error) string {
	_, commands, ok := strings.Cut(err.Error(), ": openssl ")
	if !ok {
		return ""
	}
	return "openssl " + commands
}

// runCommands runs the commands of an error's message as a user would, whose
// password it gives.
func runCommands(t *testing.T, dir string, err error, password string) {
	commands := commandsOf(err)
	require.NotEmpty(t, commands, "no commands in: %v", err)
	const openssl = "openssl pkcs12 "
	commands = strings.ReplaceAll(commands, openssl, openssl+"-passin 'pass:"+password+"' -passout 'pass:"+password+"' ")
	shell(t, dir, commands)
}

func shell(t *testing.T, dir, commands string) {
	sh := exec.CommandContext(t.Context(), "sh", "-c", commands)
	sh.Dir = dir
	output, err := sh.CombinedOutput()
	require.NoError(t, err, "%s: %s", commands, output)
}

// writeParts writes what claim.pfx would be made of: certificate, key and root.
func writeParts(t *testing.T, dir string, key crypto.Signer, leaf, root *x509.Certificate) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"certificate.pem.crt": {Type: "CERTIFICATE", Bytes: leaf.Raw},
		"private.pem.key":     {Type: "PRIVATE KEY", Bytes: der},
		"AmazonRootCA1.pem":   {Type: "CERTIFICATE", Bytes: root.Raw},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}

// checkRemedy runs the commands that are printed for a file, if there are any,
// and opens what they make.
func checkRemedy(t *testing.T, data []byte, password string, err error, parts func(dir string)) {
	if commandsOf(err) == "" {
		assert.NotContains(t, err.Error(), "OpenSSL", "it is named, but not what to do with it")
		return
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "claim.pfx"), data, 0o600))
	parts(dir)
	runCommands(t, dir, err, password)
	made, err := os.ReadFile(filepath.Join(dir, "claim-new.pfx"))
	require.NoError(t, err)
	b, err := Parse(made, password)
	require.NoError(t, err)
	checkBundle(t, b)
	assert.NoFileExists(t, filepath.Join(dir, "claim.pem"), "the key is left behind")
	assert.NoFileExists(t, filepath.Join(dir, "claim.der"))
}

func TestPrintedCommandsWork(t *testing.T) {
	requireOpenSSL3(t)
	key, leaf, root := testKeyAndCertificates(t)
	for _, f := range testFiles(t) {
		t.Run(f.File, func(t *testing.T) {
			t.Parallel()
			data := f.read(t)
			_, err := Parse(data, f.Password)
			if err == nil {
				return
			}
			if f.File == "p7b.p12" { // its key is not there
				certificates, _, _ := strings.Cut(commandsOf(err), " && ")
				require.NotEmpty(t, certificates)
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "claim.pfx"), data, 0o600))
				shell(t, dir, certificates)
				return
			}
			checkRemedy(t, data, f.Password, err, func(dir string) { writeParts(t, dir, key, leaf, root) })
		})
	}
}

// testKeyAndCertificates returns an RSA key, since some algorithms are only met
// with one, its certificate and a root.
func testKeyAndCertificates(t *testing.T) (crypto.Signer, *x509.Certificate, *x509.Certificate) {
	data, err := os.ReadFile("testdata/noiter.p12")
	require.NoError(t, err)
	b, err := Parse(data, "secret")
	require.NoError(t, err)
	checkBundle(t, b)
	return b.Key, b.Leaf, newAuthority(t, nil, "root").Certificate
}

// Every algorithm that OpenSSL has for PKCS#12, for the key, the certificates
// and the MAC, beside others that need an option or none.
func TestPrintedCommandsWorkForEveryAlgorithm(t *testing.T) {
	requireOpenSSL3(t)
	dir := t.TempDir()
	key, leaf, root := testKeyAndCertificates(t)
	writeParts(t, dir, key, leaf, root)
	options := map[string]string{}
	for _, c := range []string{
		"camellia-128-cbc", "camellia-192-cbc", "camellia-256-cbc", "aria-128-cbc", "aria-192-cbc", "aria-256-cbc", "sm4-cbc",
		"seed-cbc", "bf-cbc", "cast5-cbc", "des-cbc", "des-ede3-cbc", "rc2-cbc", "aes-128-cbc", "aes-256-cfb", "aes-256-ofb",
		"PBE-MD5-DES", "PBE-SHA1-DES", "PBE-MD5-RC2-64", "PBE-SHA1-RC2-64", "PBE-SHA1-RC4-128", "PBE-SHA1-RC4-40",
		"PBE-SHA1-2DES", "PBE-SHA1-3DES", "PBE-SHA1-RC2-128", "PBE-SHA1-RC2-40",
	} {
		options[c+", key"] = "-certpbe AES-256-CBC -keypbe " + c
		options[c+", certificates"] = "-keypbe AES-256-CBC -certpbe " + c
		options[c+", and RC2"] = "-certpbe PBE-SHA1-RC2-40 -keypbe " + c
	}
	for _, c := range []string{"aes-128-cbc", "camellia-128-cbc", "PBE-SHA1-3DES", "PBE-SHA1-RC2-40", "PBE-SHA1-RC4-40"} {
		options[c+", no MAC"] = "-nomac -certpbe AES-256-CBC -keypbe " + c
	}
	for _, m := range []string{"md4", "md5", "sha1", "sha224", "sha384", "sha512-256", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "ripemd160", "sm3", "whirlpool", "blake2b512"} {
		options[m] = "-macalg " + m
		options[m+", and RC2"] = "-certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-3DES -macalg " + m
	}
	options["not encrypted, no MAC"] = "-nomac -keypbe NONE -certpbe NONE"

	for name, option := range options {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out.p12")
			make := exec.CommandContext(t.Context(), "sh", "-c", "openssl pkcs12 -export -legacy "+option+
				" -in certificate.pem.crt -inkey private.pem.key -certfile AmazonRootCA1.pem -passout pass:secret -out "+out)
			make.Dir = dir
			if output, err := make.CombinedOutput(); err != nil {
				t.Skipf("this OpenSSL does not make it: %s", output)
			}
			data, err := os.ReadFile(out)
			require.NoError(t, err)
			forms := [][]byte{data}
			if strings.HasSuffix(name, "key") {
				forms = append(forms, pem.EncodeToMemory(&pem.Block{Type: "PKCS12", Bytes: data}))
			}
			for _, form := range forms {
				b, err := Parse(form, "secret")
				if err == nil {
					checkBundle(t, b)
					assert.Equal(t, []string{"root"}, names(b.Roots))
					continue
				}
				checkError(t, b, err)
				assert.NotErrorIs(t, err, ErrIncorrectPassword)
				checkRemedy(t, form, "secret", err, func(string) {})
			}
		})
	}
}

func TestPrintedCommandsWorkForWhatIsNotPKCS12(t *testing.T) {
	requireOpenSSL3(t)
	dir := t.TempDir()
	key, leaf, root := testKeyAndCertificates(t)
	writeParts(t, dir, key, leaf, root)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	pfx, err := os.ReadFile("testdata/noiter.p12")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in.p12"), pfx, 0o600))
	made := func(commands string) []byte {
		shell(t, dir, commands)
		data, err := os.ReadFile(filepath.Join(dir, "out"))
		require.NoError(t, err)
		return data
	}
	tests := map[string][]byte{
		"a certificate in DER":           leaf.Raw,
		"a certificate in PEM":           pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		"a private key in DER":           der,
		"a private key in PEM":           pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"an encrypted private key":       made("openssl pkcs8 -topk8 -in private.pem.key -outform DER -passout pass:secret -out out"),
		"PKCS#7 in DER":                  made("openssl crl2pkcs7 -nocrl -certfile certificate.pem.crt -outform DER -out out"),
		"PKCS#7 in PEM":                  made("openssl crl2pkcs7 -nocrl -certfile certificate.pem.crt -out out"),
		"PKCS#12 in base64, one line":    made("openssl base64 -A -in in.p12 -out out"),
		"PKCS#12 in base64, lines":       made("openssl base64 -in in.p12 -out out"),
		"PKCS#12 in base64, one and \\n": append(made("openssl base64 -A -in in.p12 -out out"), '\n'),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(data, "secret")
			checkError(t, b, err)
			require.NotEmpty(t, commandsOf(err))
			checkRemedy(t, data, "secret", err, func(dir string) { writeParts(t, dir, key, leaf, root) })
		})
	}
}

// PBMAC1 is newer than most versions of OpenSSL 3.
func TestCommandsNameTheVersionThatPBMAC1Takes(t *testing.T) {
	c := container{mac: &mac{derivation: keyDerivation{pbkdf2: true}}}
	assert.Contains(t, c.reexport(), "with OpenSSL 3.4 or later: openssl pkcs12 ")
}
