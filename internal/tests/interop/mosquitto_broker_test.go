package interop_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// mosquitto is a running broker. It takes clients with a certificate of ca, and
// none without, and shows a certificate of ca itself.
type mosquitto struct {
	address string
	ca      *testca.CA
}

// startMosquitto runs a broker until the test ends. It skips the test where
// Mosquitto is not installed.
func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		// Debian's place for it is not on the PATH of an ordinary user.
		program, err = exec.LookPath("/usr/sbin/mosquitto")
	}
	if err != nil {
		t.Skip("mosquitto is not installed")
	}

	ca, dir := testca.New("root of the broker"), t.TempDir()
	server := ca.Server(testca.Validity{}, "localhost")
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	require.NoError(t, err)
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	config := []string{
		"cafile " + write("ca.pem", string(provtest.PEM("CERTIFICATE", ca.Certificate().Raw))),
		"certfile " + write("server.pem", string(provtest.PEM("CERTIFICATE", server.Leaf.Raw))),
		"keyfile " + write("server.key", string(provtest.PEM("PRIVATE KEY", key))),
		"require_certificate true",
		"allow_anonymous true", // asks for no password beside the certificate
		"user root",            // or it could not read its key when root starts it
		"set_tcp_nodelay true",
		"log_dest stdout",
	}

	// A port that was free may be taken by the time Mosquitto asks for it.
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, listener.Close())

		broker := &mosquitto{net.JoinHostPort("localhost", port), ca}
		path := write("mosquitto.conf", strings.Join(append([]string{"listener " + port + " 127.0.0.1"}, config...), "\n")+"\n")
		if broker.run(t, exec.Command(program, "-c", path)) {
			return broker
		}
	}
	require.Fail(t, "mosquitto does not stay up")
	return nil
}

// run starts command, which ends with the test, and waits until the broker
// listens. It reports false if the command exits instead.
func (m *mosquitto) run(t *testing.T, command *exec.Cmd) (listens bool) {
	t.Helper()
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	require.NoError(t, command.Start())
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		command.Wait()
	}()
	t.Cleanup(func() {
		command.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("mosquitto on %s said:\n%s", m.address, &output)
		}
	})

	require.Eventually(t, func() bool {
		select {
		case <-exited:
			return true
		default:
		}
		// A handshake tells this broker from whatever else may have its port.
		conn, err := tls.Dial("tcp", m.address, m.clientConfig("probe"))
		if err != nil {
			return false
		}
		listens = true
		return conn.Close() == nil
	}, 10*time.Second, 10*time.Millisecond, "mosquitto does not listen on %s", m.address)
	return listens
}

// provisioner returns one whose claim was issued by ca.
func (m *mosquitto) provisioner(t *testing.T, ca *testca.CA, opts ...fleetprov.Option) *fleetprov.Provisioner {
	t.Helper()
	claim, err := fleetprov.NewIdentity(ca.Client("claim", testca.Validity{}), m.ca.Certificate())
	require.NoError(t, err)
	p, err := fleetprov.New(m.address, provtest.Template, claim, opts...)
	require.NoError(t, err)
	return p
}

// connect opens a connection that ends with the test.
func (m *mosquitto) connect(t *testing.T, clientID string, config *tls.Config) mqtt.Client {
	t.Helper()
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + m.address).
		SetTLSConfig(config).
		SetClientID(clientID).
		SetProtocolVersion(4).
		SetAutoReconnect(false).
		SetOrderMatters(false))
	token := client.Connect()
	require.True(t, token.WaitTimeout(10*time.Second))
	require.NoError(t, token.Error())
	t.Cleanup(func() { client.Disconnect(0) })
	return client
}

func (m *mosquitto) clientConfig(commonName string) *tls.Config {
	return &tls.Config{
		ServerName:   "localhost",
		RootCAs:      m.ca.Pool(),
		Certificates: []tls.Certificate{m.ca.Client(commonName, testca.Validity{})},
	}
}
