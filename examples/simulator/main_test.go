package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
)

// asProgram makes the test binary the program, for tests that need a process.
const asProgram = "FLEETPROV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

var serialNumber = map[string]string{"SerialNumber": "0001"}

func TestADeviceIsProvisionedAndConnects(t *testing.T) {
	for name, options := range map[string][]fleetprov.Option{
		"with a key from the endpoint":       {},
		"with a key from the device":         {fleetprov.WithGeneratedKey()},
		"in CBOR, and without a round trip":  {fleetprov.WithCBOR(), fleetprov.WithPipelining()},
		"and proves its certificate at once": {fleetprov.WithVerification()},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir())
			credentials, err := p.provision(serialNumber, options...)
			require.NoError(t, err)
			assert.Equal(t, "0001", credentials.ThingName)
			publish(t, p.connect(credentials), "devices/0001/telemetry", "21")
			p.logs(`msg="RegisterThing accepted"`, "template=fleet-template", "thing=0001")
			p.logs("msg=published", "client=0001", "topic=devices/0001/telemetry")
			p.end()
			assert.NotContains(t, p.stderr.String(), string(credentials.PrivateKeyPEM()[28:92]))
		})
	}
}

func TestARestartKeepsTheClaimAndTheDevices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "sim")
	before := start(t, dir)
	credentials, err := before.provision(serialNumber)
	require.NoError(t, err)
	var claim [][]byte
	for _, name := range []string{rootFile, certificateFile, privateKeyFile} {
		claim = append(claim, before.read(name))
	}
	before.end()

	after := start(t, dir)
	publish(t, after.connect(credentials), "devices/0001/telemetry", "21")
	for i, name := range []string{rootFile, certificateFile, privateKeyFile} {
		assert.Equal(t, string(claim[i]), string(after.read(name)), name)
	}
	_, err = after.provision(map[string]string{"SerialNumber": "0002"})
	assert.NoError(t, err, "the claim is good still")
	after.end()
}

func TestTheDocumentsOfExamplesAWS(t *testing.T) {
	p := start(t, t.TempDir(),
		"-template", "../aws/provisioning-template.json",
		"-template-name", "fleet-template",
		"-template", "fleet-rotation-template=../aws/rotation-template.json",
		"-claim-policy", "../aws/claim-policy.json",
		"-policy", "fleet-device-policy=../aws/device-policy.json",
		"-policy", "fleet-rotation-policy=../aws/rotation-policy.json",
	)
	assert.Contains(t, p.stdout.String(), " -param SerialNumber=0001\n", "what the template requires is in the instructions")
	_, err := p.provision(nil, fleetprov.WithMaxAttempts(1))
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected, "without it there is no thing")
	assert.Equal(t, 400, rejected.StatusCode)

	credentials, err := p.provision(serialNumber)
	require.NoError(t, err)
	assert.Equal(t, "device-0001", credentials.ThingName)
	assert.Equal(t, map[string]string{"telemetryIntervalSeconds": "60"}, credentials.DeviceConfiguration)
	client := p.connect(credentials)
	publish(t, client, "devices/device-0001/telemetry", "21")
	client.Publish("devices/another/telemetry", 1, false, "22")
	require.Eventually(t, func() bool { return !client.IsConnectionOpen() }, waitFor, tick, "the policy has no other topics")

	identity, err := credentials.Identity()
	require.NoError(t, err)
	renewer, err := fleetprov.New(credentials.Endpoint, "fleet-rotation-template", identity)
	require.NoError(t, err)
	renewed, err := renewer.Provision(t.Context(), map[string]string{"ThingName": credentials.ThingName})
	require.NoError(t, err)
	assert.Equal(t, "device-0001", renewed.ThingName)
	assert.NotEqual(t, credentials.CertificateID, renewed.CertificateID)
	p.end()
}

func TestWhatAFlagDoes(t *testing.T) {
	t.Run("-fault refuses as often as it says", func(t *testing.T) {
		p := start(t, t.TempDir(), "-fault", "RegisterThing:reject=429:count=2", "-fault", "RegisterThing:reject=403:code=ACCESS_DENIED:message=no")
		for _, status := range []int{429, 429, 403} {
			_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
			var rejected *fleetprov.RejectedError
			require.ErrorAs(t, err, &rejected)
			assert.Equal(t, status, rejected.StatusCode)
		}
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		assert.NoError(t, err)
		p.end()
	})
	t.Run("-quota is for all clients, and closes the connection", func(t *testing.T) {
		p := start(t, t.TempDir(), "-quota", "RegisterThing=0")
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
		p.end()
	})
	t.Run("-quota answers 429 if it is to", func(t *testing.T) {
		p := start(t, t.TempDir(), "-quota", "RegisterThing=0:429")
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		var rejected *fleetprov.RejectedError
		require.ErrorAs(t, err, &rejected)
		assert.Equal(t, 429, rejected.StatusCode)
		p.end()
	})
	t.Run("-quota may close the connection", func(t *testing.T) {
		p := start(t, t.TempDir(), "-quota", "aws", "-quota", "RegisterThing=0:close")
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
		p.end()
	})
	t.Run("-client-quota is for a client id", func(t *testing.T) {
		p := start(t, t.TempDir(), "-client-quota", "Connect=0.001")
		for _, id := range []string{"one", "another"} {
			_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1), fleetprov.WithClientID(id))
			require.NoError(t, err)
		}
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1), fleetprov.WithClientID("one"))
		assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
		p.end()
	})
	t.Run("-sni is the endpoint, and no other will do", func(t *testing.T) {
		p := start(t, t.TempDir(), "-sni", "iot.factory.example")
		assert.Regexp(t, `^iot\.factory\.example:\d+$`, p.endpoint())
		_, port, err := net.SplitHostPort(p.endpoint())
		require.NoError(t, err)
		local := net.JoinHostPort("127.0.0.1", port)

		var dialer net.Dialer
		_, err = p.provision(serialNumber, fleetprov.WithDialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, local)
		}))
		assert.NoError(t, err)
		_, err = tls.Dial("tcp", local, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
		assert.Error(t, err)
		p.logs("reason=", "SNI", "localhost")
		p.end()
	})
	t.Run("-alpn refuses who does not offer the protocol", func(t *testing.T) {
		p := start(t, t.TempDir(), "-alpn")
		assert.NotContains(t, p.stdout.String(), "go run ./examples/provisioning", "it offers it on port 443 only")
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		assert.Error(t, err)
		_, err = p.provision(serialNumber, fleetprov.WithTLSConfig(&tls.Config{NextProtos: []string{"x-amzn-mqtt-ca"}}))
		assert.NoError(t, err)
		p.end()
	})
	t.Run("-claim-policy is what the claim may do", func(t *testing.T) {
		p := start(t, t.TempDir(), "-claim-policy", "../aws/rotation-policy.json")
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		assert.ErrorIs(t, err, fleetprov.ErrClosedOnConnect, "a device connects by another policy")
		p.logs("the policy denies iot:Connect")
		p.end()
	})
	t.Run("-refusal says how", func(t *testing.T) {
		p := start(t, t.TempDir(), "-claim-policy", "../aws/rotation-policy.json", "-refusal", "connack")
		_, err := p.provision(serialNumber, fleetprov.WithMaxAttempts(1))
		assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
		p.end()
	})
	t.Run("-require-subscription sends no answer to who has not asked for it", func(t *testing.T) {
		p := start(t, t.TempDir(), "-require-subscription")
		client := p.connectClaim()
		publish(t, client, "$aws/certificates/create-from-csr/json", "{}")
		p.logs("not delivered", "the client has not subscribed to it")
		p.end()
	})
	t.Run("-activation-lag, -validity and -single-use-tokens are what a device lives with", func(t *testing.T) {
		p := start(t, t.TempDir(), "-activation-lag", "1ms", "-validity", "1h", "-single-use-tokens")
		credentials, err := p.provision(serialNumber, fleetprov.WithVerification())
		require.NoError(t, err)
		certificate, err := credentials.TLSCertificate()
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now().Add(time.Hour), certificate.Leaf.NotAfter, time.Minute)
		p.end()
	})
	t.Run("-password may be empty", func(t *testing.T) {
		p := start(t, t.TempDir(), "-password", "")
		_, err := fleetprov.LoadPFX(filepath.Join(p.dir, pfxFile), "")
		assert.NoError(t, err)
		assert.Contains(t, p.stdout.String(), "IDENTITY_PASSWORD='' ")
		p.end()
	})
	t.Run("-suback keeps the connection of a device that may not subscribe", func(t *testing.T) {
		p := start(t, t.TempDir(), "-suback", "-device-policy", "../aws/device-policy.json")
		credentials, err := p.provision(serialNumber)
		require.NoError(t, err)
		client := p.connect(credentials)
		token := client.Subscribe("devices/another/#", 1, nil)
		require.True(t, token.WaitTimeout(waitFor))
		assert.Equal(t, map[string]byte{"devices/another/#": 0x80}, token.(*mqtt.SubscribeToken).Result())
		assert.True(t, client.IsConnectionOpen())
		p.end()
	})
}

func TestItEndsWithItsConnections(t *testing.T) {
	p := start(t, t.TempDir())
	credentials, err := p.provision(serialNumber)
	require.NoError(t, err)
	client := p.connect(credentials)
	p.end()
	require.Eventually(t, func() bool { return !client.IsConnectionOpen() }, waitFor, tick)
	_, err = net.Dial("tcp", p.endpoint())
	assert.Error(t, err)
}

func TestSignalsEndIt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send itself Ctrl-C there")
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			p := &program{t: t}
			command := exec.CommandContext(t.Context(), os.Args[0], "-addr", "127.0.0.1:0", "-dir", t.TempDir())
			command.Env = append(os.Environ(), asProgram+"=1")
			command.Stdout, command.Stderr = &p.stdout, &p.stderr
			require.NoError(t, command.Start())
			require.Eventually(t, p.printed, waitFor, tick)
			require.NoError(t, command.Process.Signal(signal))
			require.NoError(t, command.Wait(), "it ends with status 0")
			assert.Empty(t, p.stderr.String())
		})
	}
}
