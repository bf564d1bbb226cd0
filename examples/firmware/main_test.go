package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// asProgram makes the test binary the program, for tests that need a process.
const asProgram = "FLEETPROV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

const topic = "devices/0042/telemetry"

func TestEmbeddedEndpoint(t *testing.T) {
	temp := emptyTemp(t)
	f := start(t, nil)
	f.shows(1, "AWS_HOSTNAME is not set: using an endpoint embedded in this program")
	f.complains("op=CreateCertificateFromCsr")
	f.shows(1, "Thing name:     \"0001\"\n")
	f.shows(2, `"devices/0001/telemetry" {`)
	f.end()
	assert.NotContains(t, f.stderr.String(), "level=WARN")
	entries, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is left behind")
}

func TestAnotherDeviceSeesTheTelemetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server, environment, flags := aws(t, onPipes)
		type telemetry struct {
			Sequence      int
			UptimeSeconds float64
		}
		seen := make(chan telemetry, 10)
		other := connect(t, provisioned(t, server, "another"))
		token := other.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) {
			var message telemetry
			assert.NoError(t, json.Unmarshal(m.Payload(), &message))
			seen <- message
		})
		require.True(t, token.WaitTimeout(10*time.Second))
		require.NoError(t, token.Error())

		f := start(t, environment, flags...)
		first := provtest.Wait(t, seen)
		second := provtest.Wait(t, seen)
		f.end()
		assert.Equal(t, 1, first.Sequence)
		assert.Equal(t, 2, second.Sequence)
		assert.InDelta(t, 1, second.UptimeSeconds-first.UptimeSeconds, 0.05)
	})
}

func TestTheSecondBootNeedsNoClaimAndNoNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server, environment, flags := aws(t, onPipes)
		f := start(t, environment, flags...)
		f.shows(1, topic)
		f.end()
		stored, err := fleetprov.LoadCredentials(t.Context(), stateOf(flags))
		require.NoError(t, err)

		without := map[string]string{"AWS_HOSTNAME": server.Endpoint()}
		f = start(t, without, "-state", string(stateOf(flags)))
		f.shows(1, "Certificate id: "+stored.CertificateID)
		f.shows(1, topic)
		f.end()
		assert.Len(t, server.Certificates(), 1)

		server.Close()
		f = start(t, without, "-state", string(stateOf(flags)))
		f.shows(1, "Certificate id: "+stored.CertificateID)
		f.complains("connecting as 0042: ")
		f.complains("the session failed; another begins in ")
		f.end()
	})
}

func TestAConnectionThatIsLostIsOpenedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, environment, flags := aws(t, onPipes)
		f := start(t, environment, flags...)
		f.shows(1, topic)
		stored, err := fleetprov.LoadCredentials(t.Context(), stateOf(flags))
		require.NoError(t, err)
		connect(t, stored) // the same client id a second time ends the first connection
		f.complains("the session failed; another begins in ")
		before := strings.Count(f.stdout.String(), topic)
		f.shows(before+2, topic)
		f.end()
	})
}

// A new certificate may be refused for a while, without a word.
func TestActivationMayLag(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server, environment, flags := aws(t, onPipes, func(s *fleetprovtest.Server) { s.ActivationLag = 2 * time.Second })
		f := start(t, environment, flags...)
		f.complains("connecting as 0042: network Error : EOF: check that the certificate is active")
		f.shows(1, topic)
		f.end()
		assert.Len(t, server.Certificates(), 1, "the device has not asked for another one")
	})
}

func TestRefusalsAreSeen(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault fleetprovtest.Fault
		says  string
	}{
		{"CONNACK 5", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 5}}, "connecting as 0042: not Authorized: check that the certificate is active"},
		{"CONNACK 7, which is AWS's own", fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 7}}, "its policy allows iot:Connect on client/0042"},
		{"closed without a word", fleetprovtest.Fault{Disconnect: true}, "connecting as 0042: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				server, environment, flags := aws(t, onPipes)
				server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim's
				server.Inject(fleetprovtest.OpConnect, test.fault)
				f := start(t, environment, flags...)
				f.complains(test.says)
				f.shows(1, topic)
				f.end()
			})
		})
	}
}

func TestRenewalOnASignal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server, environment, flags := aws(t, onPipes)
		f := start(t, environment, flags...)
		f.shows(1, topic)
		old, err := fleetprov.LoadCredentials(t.Context(), stateOf(flags))
		require.NoError(t, err)
		seen := len(server.Requests())

		f.renewals <- syscall.SIGHUP
		f.shows(1, "The previous one may be deactivated: aws iot update-certificate --new-status INACTIVE --certificate-id "+old.CertificateID+"\n")
		before := strings.Count(f.stdout.String(), topic)
		f.shows(before+1, topic)
		f.end()
		assert.NotContains(t, f.stderr.String(), "level=WARN")

		current, err := fleetprov.LoadCredentials(t.Context(), stateOf(flags))
		require.NoError(t, err)
		assert.NotEqual(t, old.CertificateID, current.CertificateID)
		assert.Equal(t, []fleetprovtest.Thing{{
			Name:           "0042",
			Parameters:     map[string]string{"ThingName": "0042"},
			CertificateIDs: []string{old.CertificateID, current.CertificateID},
		}}, server.Things())
		for _, request := range server.Requests()[seen:] {
			assert.Equal(t, "0042", request.ClientID, "the claim has no part in it")
		}
	})
}

func TestARenewalThatIsRefusedLeavesTheDeviceAtWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server, environment, flags := aws(t, onPipes)
		f := start(t, environment, append(flags, "-renew-template", "no-such-template", "-renew")...)
		f.complains(`the renewal failed; the device goes on with the credentials it has`)
		f.shows(1, topic)
		f.end()
		assert.Len(t, server.Things()[0].CertificateIDs, 1)
	})
}

// A template may provision a device without making it a thing.
func TestADeviceThatIsNoThing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server, environment, flags := aws(t, onPipes)
		require.NoError(t, server.AddTemplate("no-thing", `{"Parameters":{"SerialNumber":{"Type":"String"},"AWS::IoT::Certificate::Id":{"Type":"String"}},
			"Resources":{"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"Active"}}}}`))
		f := start(t, environment, append(flags, "-template", "no-thing")...)
		f.complains("the template has no AWS::IoT::Thing, so that there is no name to connect under")
		f.end()
	})
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGHUP, and a process cannot send itself Ctrl-C")
	}
	server, environment, flags := aws(t)
	program := exec.CommandContext(t.Context(), os.Args[0], flags...)
	program.Env = append(os.Environ(), asProgram+"=1")
	for name, value := range environment {
		program.Env = append(program.Env, name+"="+value)
	}
	f := &firmware{t: t}
	program.Stdout, program.Stderr = &f.stdout, &f.stderr
	require.NoError(t, program.Start())
	f.shows(1, topic)
	require.NoError(t, program.Process.Signal(syscall.SIGHUP))
	f.complains("the session is to end, for a renewal")
	require.NoError(t, program.Process.Signal(os.Interrupt))
	require.NoError(t, program.Wait(), "it ends with status 0, in the middle of a renewal too")
	assert.NotEmpty(t, server.Certificates())
}
