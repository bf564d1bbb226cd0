package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// requireNode skips the test where the clients in JavaScript are not installed.
func requireNode(t *testing.T) (node string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	if _, err := os.Stat(filepath.Join("testdata", "node_modules")); err != nil {
		t.Skip("the packages of testdata are not installed: npm ci --ignore-scripts --prefix examples/simulator/testdata")
	}
	return node
}

// requireAWSCRT skips the test where no Python has AWS's Common Runtime.
func requireAWSCRT(t *testing.T) (python string) {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} { // the latter is Debian's
		if exec.Command(python, "-c", "import awscrt.mqtt").Run() == nil {
			return python
		}
	}
	t.Skip("python3-awscrt is not installed")
	return ""
}

// Clients that know nothing of this library provision a device against what the simulator
// does by default, and connect as the device.
func TestOtherClients(t *testing.T) {
	script := func(name string, arguments ...string) func(*testing.T) []string {
		return func(t *testing.T) []string {
			return append([]string{requireNode(t), filepath.Join("testdata", name)}, arguments...)
		}
	}
	for name, client := range map[string]func(*testing.T) []string{
		"AWS's SDK for JavaScript, MQTT 3.1.1": script("awssdk.js", "3.1"),
		"AWS's SDK for JavaScript, MQTT 5":     script("awssdk.js", "5"),
		"MQTT.js, MQTT 3.1.1":                  script("mqttjs.js", "3.1"),
		"MQTT.js, MQTT 5":                      script("mqttjs.js", "5"),
		"AWS's runtime for Python": func(t *testing.T) []string {
			return []string{requireAWSCRT(t), "provision.py"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			command := client(t)
			p := start(t, t.TempDir())
			host, port, err := net.SplitHostPort(p.endpoint())
			require.NoError(t, err)
			arguments := append(command[1:], host, port, "fleet-template", `{"SerialNumber":"pump"}`, p.dir)
			output, err := exec.CommandContext(provtest.Context(t), command[0], arguments...).CombinedOutput()
			require.NoError(t, err, "%s", output)
			assert.Equal(t, "provisioned pump\n", string(output))
			p.logs(`msg="RegisterThing accepted"`, "client=fleetprov-", "thing=pump")
			p.logs("msg=published", "client=pump", "topic=devices/pump/telemetry")
			p.end()
		})
	}
}
