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
	fmt.Println(base64.StdEncoding.EncodeToString(server.ClaimPFX(provtest.Password)))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		memory, _ := inUse()
		fmt.Println(memory)
	}
}

// startServerProcess starts an endpoint that ends with the benchmark.
func startServerProcess(b *testing.B) serverProcess {
	b.Helper()
	process := provtest.Process(context.Background(), "TestServerProcess", serverOrder+"=1") // it ends with its input
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
	server := serverProcess{stdin: stdin, stdout: bufio.NewScanner(stdout)}
	server.endpoint = server.line(b)
	server.pfx, err = base64.StdEncoding.DecodeString(server.line(b))
	require.NoError(b, err)
	server.claim, err = fleetprov.ParsePFX(server.pfx, provtest.Password)
	require.NoError(b, err)
	return server
}

func (s serverProcess) line(b *testing.B) string {
	b.Helper()
	require.True(b, s.stdout.Scan(), "%v", s.stdout.Err())
	return s.stdout.Text()
}

// memory is what the endpoint has in use, in bytes.
func (s serverProcess) memory(b *testing.B) float64 {
	b.Helper()
	fmt.Fprintln(s.stdin)
	memory, err := strconv.ParseFloat(s.line(b), 64)
	require.NoError(b, err)
	return memory
}

// tlsConfig is what the claim connects with.
func (s serverProcess) tlsConfig(b *testing.B) *tls.Config {
	b.Helper()
	key, leaf, roots, err := pkcs12.DecodeChain(s.pfx, provtest.Password)
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
	p, err := fleetprov.New(s.endpoint, provtest.Template, s.claim, opts...)
	require.NoError(b, err)
	return p
}
