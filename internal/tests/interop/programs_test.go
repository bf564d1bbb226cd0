package interop_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// onPrograms runs test with the files of credentials with keys of several kinds,
// and skips it if program is not installed.
func onPrograms(t *testing.T, program string, test func(t *testing.T, run func(arguments ...string) []byte, credentials *fleetprov.Credentials, file string)) {
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	server := provtest.NewServer(t)
	for name, opts := range map[string][]fleetprov.Option{
		"a key made by AWS":        nil,
		"a key made on the device": {fleetprov.WithGeneratedKey()},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := provtest.Provisioned(t, server, opts...)
			data, err := credentials.MarshalPEM()
			require.NoError(t, err)
			file := filepath.Join(t.TempDir(), "credentials.pem")
			require.NoError(t, os.WriteFile(file, data, 0o600))
			run := func(arguments ...string) []byte {
				t.Helper()
				command := exec.CommandContext(t.Context(), path, arguments...)
				var said bytes.Buffer
				command.Stderr = &said
				output, err := command.Output()
				require.NoError(t, err, "%s %q: %s", program, arguments, said.String())
				return output
			}
			test(t, run, credentials, file)
		})
	}
}

func TestOpenSSLReadsTheCredentialsFile(t *testing.T) {
	onPrograms(t, "openssl", func(t *testing.T, run func(...string) []byte, credentials *fleetprov.Credentials, file string) {
		certificate, err := credentials.TLSCertificate()
		require.NoError(t, err)
		assert.Equal(t, certificate.Leaf.Raw, run("x509", "-in", file, "-outform", "DER"))
		public, err := x509.MarshalPKIXPublicKey(certificate.Leaf.PublicKey)
		require.NoError(t, err)
		assert.Equal(t, public, run("pkey", "-in", file, "-pubout", "-outform", "DER"))
		run("pkey", "-in", file, "-noout", "-check")
	})
}

func TestOpenSSLReadsThePFX(t *testing.T) {
	onPrograms(t, "openssl", func(t *testing.T, run func(...string) []byte, credentials *fleetprov.Credentials, _ string) {
		data, err := credentials.EncodePFX("device-p4ssword")
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "device.pfx")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		open := func(what ...string) []byte {
			return run(append([]string{"pkcs12", "-in", file, "-passin", "pass:device-p4ssword", "-nodes"}, what...)...)
		}
		all := provtest.PEMBlocks(open("-info"))
		assert.Len(t, all, 3, "the certificate, the root, the key")

		pair, err := tls.X509KeyPair(open("-nokeys", "-clcerts"), open("-nocerts"))
		require.NoError(t, err)
		want, err := credentials.TLSCertificate()
		require.NoError(t, err)
		assert.Equal(t, want.Certificate, pair.Certificate)
		assert.Equal(t, want.PrivateKey, pair.PrivateKey)

		roots := provtest.PEMBlocks(open("-nokeys", "-cacerts"))
		require.Len(t, roots, 1)
		assert.Equal(t, credentials.Roots[0].Raw, roots[0].Bytes)
	})
}

func TestCurlConnectsWithTheCredentialsFile(t *testing.T) {
	asked := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		_, _ = io.WriteString(w, hex.EncodeToString(digest[:]))
		if len(r.TLS.PeerCertificates) > 1 {
			_, _ = io.WriteString(w, " and more")
		}
	}))
	asked.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	asked.StartTLS()
	defer asked.Close()
	trusted := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(trusted, provtest.PEM("CERTIFICATE", asked.Certificate().Raw), 0o600))

	onPrograms(t, "curl", func(t *testing.T, run func(...string) []byte, credentials *fleetprov.Credentials, file string) {
		said := run("--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert", trusted, "--cert", file, asked.URL)
		assert.Equal(t, credentials.CertificateID, string(said))
	})
}

func TestMosquittoPubPublishesWithTheCredentialsFile(t *testing.T) {
	onPrograms(t, "mosquitto_pub", func(t *testing.T, run func(...string) []byte, credentials *fleetprov.Credentials, file string) {
		trusted := filepath.Join(t.TempDir(), "root.pem")
		require.NoError(t, os.WriteFile(trusted, provtest.PEM("CERTIFICATE", credentials.Roots[0].Raw), 0o600))
		host, port, err := net.SplitHostPort(credentials.Endpoint)
		require.NoError(t, err)
		// At QoS 1 it waits until the message is acknowledged.
		run("-h", host, "-p", port, "--cafile", trusted, "--cert", file, "--key", file,
			"-V", "mqttv311", "-i", credentials.ThingName, "-q", "1", "-t", "telemetry", "-m", "21.5")
	})
}
