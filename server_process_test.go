package fleetprov_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// serverProcess is an endpoint in a process of its own, whose time and memory are
// not counted as the client's.
type serverProcess struct {
	endpoint string
	pfx      []byte
	claim    *fleetprov.Identity
}

const serverOrder = "FLEETPROV_TEST_SERVE"

func TestServerProcess(t *testing.T) {
	if os.Getenv(serverOrder) == "" {
		t.Skip("for the processes that other tests start")
	}
	server := fleetprovtest.NewUnstartedServer()
	server.MaxRequests = 1
	server.Start()
	defer server.Close()
	fmt.Println(server.Endpoint())
	fmt.Println(base64.StdEncoding.EncodeToString(server.ClaimPFX(testPassword)))
	io.Copy(io.Discard, os.Stdin)
}

// startServerProcess starts an endpoint that ends with the benchmark.
func startServerProcess(b *testing.B) serverProcess {
	b.Helper()
	process := exec.Command(os.Args[0], "-test.run=^TestServerProcess$")
	process.Env = append(os.Environ(), serverOrder+"=1")
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	require.NoError(b, err)
	stdout, err := process.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, process.Start())
	b.Cleanup(func() {
		stdin.Close()
		process.Wait()
	})
	lines := bufio.NewScanner(stdout)
	require.True(b, lines.Scan(), "%v", lines.Err())
	server := serverProcess{endpoint: lines.Text()}
	require.True(b, lines.Scan(), "%v", lines.Err())
	server.pfx, err = base64.StdEncoding.DecodeString(lines.Text())
	require.NoError(b, err)
	server.claim, err = fleetprov.ParsePFX(server.pfx, testPassword)
	require.NoError(b, err)
	return server
}

// tlsConfig is what the claim connects with.
func (s serverProcess) tlsConfig(b *testing.B) *tls.Config {
	b.Helper()
	key, leaf, roots, err := pkcs12.DecodeChain(s.pfx, testPassword)
	require.NoError(b, err)
	config := &tls.Config{
		RootCAs:      x509.NewCertPool(),
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		ServerName:   "localhost",
	}
	for _, root := range roots {
		config.RootCAs.AddCert(root)
	}
	return config
}

func (s serverProcess) newProvisioner(b *testing.B, opts ...fleetprov.Option) *fleetprov.Provisioner {
	b.Helper()
	p, err := fleetprov.New(s.endpoint, testTemplate, s.claim, opts...)
	require.NoError(b, err)
	return p
}
