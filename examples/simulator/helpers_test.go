package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

const (
	password = "claim-p4ssword"

	waitFor = 20 * time.Second
	tick    = time.Millisecond
)

// program is the simulator, running.
type program struct {
	t              *testing.T
	dir            string
	stdout, stderr provtest.Screen
	interrupt      context.CancelFunc
	status         chan int
}

// start runs the program on a free port with a directory, until the test ends.
func start(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{t: t, dir: dir, interrupt: cancel, status: make(chan int, 1)}
	args = append([]string{"-addr", "127.0.0.1:0", "-dir", dir, "-password", password}, args...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.status <- run(ctx, args, &p.stdout, &p.stderr)
	}()
	t.Cleanup(func() {
		cancel()
		provtest.Wait(t, ended)
	})
	require.Eventually(t, func() bool { return p.printed() || len(p.status) > 0 }, waitFor, tick)
	require.True(t, p.printed(), p.stderr.String())
	return p
}

// printed reports whether the last line of the instructions is there.
func (p *program) printed() bool { return strings.Contains(p.stdout.String(), "mosquitto_sub -i") }

// end presses Ctrl-C, and looks for secrets in the log.
func (p *program) end() {
	p.t.Helper()
	p.interrupt()
	assert.Equal(p.t, 0, provtest.Wait(p.t, p.status), p.stderr.String())
	log := p.stderr.String()
	assert.NotContains(p.t, log, password)
	assert.NotContains(p.t, log, "PRIVATE KEY")
	for _, secret := range p.secrets() {
		assert.NotContains(p.t, log, secret)
	}
}

// secrets are the claim's key as it stands in its file, and the tokens given.
func (p *program) secrets() []string {
	key := strings.Split(string(p.read(privateKeyFile)), "\n")[1]
	secrets := []string{key}
	for line := range strings.Lines(string(p.read(stateFile))) {
		var record struct{ Certificate struct{ Token string } }
		require.NoError(p.t, json.Unmarshal([]byte(line), &record))
		if record.Certificate.Token != "" {
			secrets = append(secrets, record.Certificate.Token)
		}
	}
	return secrets
}

// logs waits until the log has a line that contains all parts.
func (p *program) logs(parts ...string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		for line := range strings.Lines(p.stderr.String()) {
			missing := false
			for _, part := range parts {
				missing = missing || !strings.Contains(line, part)
			}
			if !missing {
				return true
			}
		}
		return false
	}, waitFor, tick, "no line has %q in:\n%s", parts, &p.stderr)
}

func (p *program) read(name string) []byte {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	require.NoError(p.t, err)
	return data
}

var endpointLine = regexp.MustCompile(`(?m)^endpoint: (\S+:\d+)$`)

// endpoint is where clients connect to, as it is printed.
func (p *program) endpoint() string {
	p.t.Helper()
	found := endpointLine.FindStringSubmatch(p.stdout.String())
	require.NotNil(p.t, found, p.stdout.String())
	return found[1]
}

// provision gives a device its identity, with the claim in the directory.
func (p *program) provision(parameters map[string]string, options ...fleetprov.Option) (*fleetprov.Credentials, error) {
	p.t.Helper()
	claim, err := fleetprov.LoadPFX(filepath.Join(p.dir, pfxFile), password)
	require.NoError(p.t, err)
	provisioner, err := fleetprov.New(p.endpoint(), "fleet-template", claim, options...)
	require.NoError(p.t, err)
	return provisioner.Provision(p.t.Context(), parameters)
}

// connect opens a connection with credentials, under their thing name.
func (p *program) connect(c *fleetprov.Credentials) mqtt.Client {
	p.t.Helper()
	config, err := c.TLSConfig()
	require.NoError(p.t, err)
	return p.dial(c.ThingName, config)
}

// connectClaim opens a connection with the claim in the directory.
func (p *program) connectClaim() mqtt.Client {
	p.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(p.dir, certificateFile), filepath.Join(p.dir, privateKeyFile))
	require.NoError(p.t, err)
	roots := x509.NewCertPool()
	require.True(p.t, roots.AppendCertsFromPEM(p.read(rootFile)))
	return p.dial("factory", &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots})
}

func (p *program) dial(clientID string, config *tls.Config) mqtt.Client {
	p.t.Helper()
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + p.endpoint()).
		SetClientID(clientID).
		SetTLSConfig(config).
		SetAutoReconnect(false))
	token := client.Connect()
	require.True(p.t, token.WaitTimeout(waitFor))
	require.NoError(p.t, token.Error())
	p.t.Cleanup(func() { client.Disconnect(0) })
	return client
}

// publish publishes a message and waits for its PUBACK.
func publish(t *testing.T, client mqtt.Client, topic, message string) {
	t.Helper()
	token := client.Publish(topic, 1, false, message)
	require.True(t, token.WaitTimeout(waitFor))
	require.NoError(t, token.Error())
}

// lines returns the command lines below a heading of the instructions.
func (p *program) lines(heading string) string {
	p.t.Helper()
	_, below, found := strings.Cut(p.stdout.String(), "\n"+heading)
	require.True(p.t, found, "there is no %q in:\n%s", heading, &p.stdout)
	var lines strings.Builder
	for line := range strings.Lines(below) {
		if command, indented := strings.CutPrefix(line, "  "); indented {
			lines.WriteString(command)
		} else if lines.Len() > 0 {
			break
		}
	}
	return lines.String()
}

func requirePEM(t *testing.T, data []byte, blockType string) *pem.Block {
	t.Helper()
	block, rest := pem.Decode(data)
	require.NotNil(t, block)
	require.Empty(t, rest)
	require.Equal(t, blockType, block.Type)
	return block
}
