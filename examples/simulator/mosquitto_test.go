package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mosquitto is Mosquitto's clients as Debian ships them, for one simulator and in
// one version of MQTT. They are programs of C, whose TLS is OpenSSL.
type mosquitto struct {
	*program
	dir     string // of the devices' files
	version string
}

// requireMosquitto skips the test where Mosquitto's clients are not installed.
func requireMosquitto(t *testing.T) {
	t.Helper()
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub", "mosquitto_rr"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(name + " is not installed")
		}
	}
}

// command returns a client that connects under an id with the certificate and key
// in a pair of files.
func (m *mosquitto) command(client, id, pair string, args ...string) *exec.Cmd {
	m.t.Helper()
	host, port, err := net.SplitHostPort(m.endpoint())
	require.NoError(m.t, err)
	return exec.CommandContext(m.t.Context(), client, append(args, "-V", m.version, "-h", host, "-p", port,
		"--cafile", filepath.Join(m.program.dir, rootFile), "--cert", pair+".pem.crt", "--key", pair+".pem.key", "-i", id, "-q", "1")...)
}

// run runs a client to its end, and returns what it prints.
func (m *mosquitto) run(client, id, pair string, args ...string) string {
	m.t.Helper()
	output, err := m.command(client, id, pair, args...).CombinedOutput()
	require.NoError(m.t, err, "%s: %s", client, output)
	return string(output)
}

// claim is the pair of files of the claim.
func (m *mosquitto) claim() string { return filepath.Join(m.program.dir, "claim") }

// answer is what an operation is accepted with.
type answer struct {
	CertificatePEM string `json:"certificatePem"`
	PrivateKey     string `json:"privateKey"`
	Token          string `json:"certificateOwnershipToken"`
	ThingName      string `json:"thingName"`
}

// ask requests an operation as the claim.
func (m *mosquitto) ask(topic string, request any) answer {
	m.t.Helper()
	payload, err := json.Marshal(request)
	require.NoError(m.t, err)
	output := m.run("mosquitto_rr", "factory", m.claim(), "-t", topic, "-e", topic+"/accepted", "-m", string(payload), "-W", "20")
	var accepted answer
	require.NoError(m.t, json.Unmarshal([]byte(output), &accepted), output)
	return accepted
}

// register makes a certificate that of a device, and returns the pair of files
// with it and its key.
func (m *mosquitto) register(created answer, key, serialNumber string) (pair string) {
	m.t.Helper()
	thing := m.ask("$aws/provisioning-templates/fleet-template/provision/json", map[string]any{
		"certificateOwnershipToken": created.Token,
		"parameters":                map[string]string{"SerialNumber": serialNumber},
	})
	require.Equal(m.t, serialNumber, thing.ThingName)
	pair = filepath.Join(m.dir, serialNumber)
	require.NoError(m.t, os.WriteFile(pair+".pem.crt", []byte(created.CertificatePEM), 0o600))
	require.NoError(m.t, os.WriteFile(pair+".pem.key", []byte(key), 0o600))
	return pair
}

// keyAndCSR are made by OpenSSL.
func (m *mosquitto) keyAndCSR() (key, csr string) {
	m.t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		m.t.Skip("openssl is not installed")
	}
	files := []string{filepath.Join(m.dir, "made.key"), filepath.Join(m.dir, "made.csr")}
	output, err := exec.CommandContext(m.t.Context(), "openssl", "req", "-new", "-subj", "/CN=device", "-nodes",
		"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", files[0], "-out", files[1]).CombinedOutput()
	require.NoError(m.t, err, "%s", output)
	for i, text := range []*string{&key, &csr} {
		content, err := os.ReadFile(files[i])
		require.NoError(m.t, err)
		*text = string(content)
	}
	return key, csr
}

func TestMosquitto(t *testing.T) {
	requireMosquitto(t)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			m := &mosquitto{start(t, t.TempDir()), t.TempDir(), version}

			// The claim publishes and subscribes. What mosquitto_pub asks for is
			// answered to mosquitto_pub, which does not listen.
			m.run("mosquitto_sub", "factory", m.claim(), "-E", "-t", "$aws/certificates/create/json/accepted", "-t", "$aws/certificates/create/json/rejected")
			m.logs("msg=subscribed", "client=factory", "$aws/certificates/create/json/rejected")
			m.run("mosquitto_pub", "factory", m.claim(), "-t", "$aws/certificates/create/json", "-n")
			m.logs(`msg="CreateKeysAndCertificate accepted"`, "client=factory")

			// It provisions two devices, one with each flow.
			created := m.ask("$aws/certificates/create/json", struct{}{})
			pump := m.register(created, created.PrivateKey, "pump")
			key, csr := m.keyAndCSR()
			created = m.ask("$aws/certificates/create-from-csr/json", map[string]string{"certificateSigningRequest": csr})
			valve := m.register(created, key, "valve")

			// One device publishes, the other has subscribed.
			var heard bytes.Buffer
			listener := m.command("mosquitto_sub", "valve", valve, "-t", "devices/valve/#", "-v", "-C", "1", "-W", "20")
			listener.Stdout, listener.Stderr = &heard, &heard
			require.NoError(t, listener.Start())
			m.logs("msg=subscribed", "client=valve")
			m.run("mosquitto_pub", "pump", pump, "-t", "devices/valve/commands", "-m", "close")
			require.NoError(t, listener.Wait(), heard.String())
			assert.Equal(t, "devices/valve/commands close\n", heard.String())
			assert.NotContains(t, m.stderr.String(), strings.Split(key, "\n")[1])
			m.end()
		})
	}
}

func TestTheLinesForMosquitto(t *testing.T) {
	requireMosquitto(t)
	for name, flags := range map[string][]string{
		"as it is":              nil,
		"with ALPN":             {"-alpn"},
		"with AWS's documents":  {"-template", "../aws/provisioning-template.json", "-claim-policy", "../aws/claim-policy.json", "-policy", "fleet-device-policy=../aws/device-policy.json"},
		"with another template": {"-template-name", "another"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, awkward(t), flags...)
			lines := strings.TrimSuffix(p.lines("With Mosquitto's clients"), "\n")
			require.True(t, strings.HasSuffix(lines, " -v"), "the last line listens until Ctrl-C")
			shell(t, ".", lines+" -E") // or until it has subscribed
			p.logs("msg=published", "telemetry")
			p.logs("msg=subscribed", "/#")
			p.end()
		})
	}
}
