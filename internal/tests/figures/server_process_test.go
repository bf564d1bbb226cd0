package figures_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// serverProcess is an endpoint in a process of its own, whose time and memory are
// not counted as the client's.
type serverProcess struct {
	stdin    io.Writer
	stdout   *bufio.Scanner
	endpoint string
	pfx      []byte // of the claim
	claim    *fleetprov.Identity
	rsaPFX   []byte // of one with an RSA key, see [serverProcess.withRSAClaim]
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
	fmt.Println(base64.StdEncoding.EncodeToString(server.ClaimPFX(provtest.Password)))
	fmt.Println(base64.StdEncoding.EncodeToString(rsaClaimPFX(t, server)))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		memory, _ := inUse()
		fmt.Println(memory)
	}
}

// rsaClaimPFX returns a claim with a certificate and a key that the endpoint has made: an
// owner has claims made in the same way, by CreateKeysAndCertificate, so their keys are
// RSA-2048.
func rsaClaimPFX(t *testing.T, server *fleetprovtest.Server) []byte {
	t.Helper()
	pfx, err := provtest.Provisioned(t, server).EncodePFX(provtest.Password)
	require.NoError(t, err)
	return pfx
}

// startServerProcess starts an endpoint that ends with the benchmark.
func startServerProcess(t testing.TB) serverProcess {
	t.Helper()
	process := provtest.Process(context.Background(), "TestServerProcess", serverOrder+"=1") // it ends with its input
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	require.NoError(t, err)
	stdout, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		stdin.Close()
		process.Wait()
	})
	server := serverProcess{stdin: stdin, stdout: bufio.NewScanner(stdout)}
	server.endpoint = server.line(t)
	pfx, err := base64.StdEncoding.DecodeString(server.line(t))
	require.NoError(t, err)
	server.rsaPFX, err = base64.StdEncoding.DecodeString(server.line(t))
	require.NoError(t, err)
	return server.with(t, pfx)
}

// with returns the same endpoint for clients with another claim.
func (s serverProcess) with(t testing.TB, pfx []byte) serverProcess {
	t.Helper()
	claim, err := fleetprov.ParsePFX(pfx, provtest.Password)
	require.NoError(t, err)
	s.pfx, s.claim = pfx, claim
	return s
}

// withRSAClaim is for clients with a claim as AWS makes it.
func (s serverProcess) withRSAClaim(t testing.TB) serverProcess { return s.with(t, s.rsaPFX) }

func (s serverProcess) line(t testing.TB) string {
	t.Helper()
	require.True(t, s.stdout.Scan(), "%v", s.stdout.Err())
	return s.stdout.Text()
}

// memory is what the endpoint has in use, in bytes.
func (s serverProcess) memory(t testing.TB) float64 {
	t.Helper()
	fmt.Fprintln(s.stdin)
	memory, err := strconv.ParseFloat(s.line(t), 64)
	require.NoError(t, err)
	return memory
}

// tlsConfig is what the claim connects with.
func (s serverProcess) tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, leaf, roots, err := pkcs12.DecodeChain(s.pfx, provtest.Password)
	require.NoError(t, err)
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

func (s serverProcess) newProvisioner(t testing.TB, opts ...fleetprov.Option) *fleetprov.Provisioner {
	t.Helper()
	p, err := fleetprov.New(s.endpoint, provtest.Template, s.claim, opts...)
	require.NoError(t, err)
	return p
}
