package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestEmbeddedEndpoint(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  []string
		steps []string
	}{
		{"without a flag AWS makes the key and the credentials are tried",
			nil, []string{"Connect", "Subscribe", "CreateKeysAndCertificate", "RegisterThing", "Verify"}},
		{"-csr makes the key on the device",
			[]string{"-csr"}, []string{"Connect", "Subscribe", "CreateCertificateFromCsr", "RegisterThing", "Verify"}},
		{"-cbor is the same exchange",
			[]string{"-cbor"}, []string{"Connect", "Subscribe", "CreateKeysAndCertificate", "RegisterThing", "Verify"}},
		{"-pipelining is the same exchange",
			[]string{"-pipelining"}, []string{"Connect", "Subscribe", "CreateKeysAndCertificate", "RegisterThing", "Verify"}},
		{"-csr and -cbor go together",
			[]string{"-csr", "-cbor"}, []string{"Connect", "Subscribe", "CreateCertificateFromCsr", "RegisterThing", "Verify"}},
		{"-verify is what happens anyway",
			[]string{"-verify"}, []string{"Connect", "Subscribe", "CreateKeysAndCertificate", "RegisterThing", "Verify"}},
		{"-verify=false ends with the registration",
			[]string{"-verify=false"}, []string{"Connect", "Subscribe", "CreateKeysAndCertificate", "RegisterThing"}},
		{"-v keeps a whole line for each step",
			[]string{"-v"}, []string{"Connect", "Subscribe", "CreateKeysAndCertificate", "RegisterThing", "Verify"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			temp := emptyTemp(t)
			r := runExample(t.Context(), nil, test.args...)
			require.Equal(t, 0, r.status, r.stderr)
			assert.Contains(t, r.stdout, "AWS_HOSTNAME is not set: using an endpoint embedded in this program")
			assert.Equal(t, test.steps, stepLines(r.stdout))

			made, err := filepath.Glob(filepath.Join(temp, "*", "*"))
			require.NoError(t, err)
			require.Len(t, made, 1, "the claim is gone, the credentials are not")
			credentials := requireCredentials(t, made[0])
			for _, shown := range []string{
				"Thing name:           \"0001\"\n",
				"Certificate id:       " + credentials.CertificateID + "\n",
				"Device configuration: \"telemetryIntervalSeconds\"=\"60\"\n",
				filepath.Join(made[0], "credentials.pem") + "\n",
			} {
				assert.Contains(t, r.stdout, shown)
			}
			assertNoSecret(t, r, credentials.PrivateKeyPEM())
		})
	}
}

func TestLogs(t *testing.T) {
	emptyTemp(t)
	assert.Empty(t, runExample(t.Context(), nil).stderr)
	assert.Contains(t, runExample(t.Context(), nil, "-v").stderr, `level=DEBUG msg="step begins" op=RegisterThing`)
}

func TestStepsAndLogsShareATerminal(t *testing.T) {
	emptyTemp(t)
	var terminal bytes.Buffer
	nothing := func(string) string { return "" }
	require.Equal(t, 0, run(t.Context(), []string{"-v"}, &terminal, &terminal, nothing))
	assert.Len(t, stepLines(terminal.String()), 5, terminal.String())
}

func TestEmbeddedEndpointTakesWhatTheUserGives(t *testing.T) {
	emptyTemp(t)
	out := filepath.Join(t.TempDir(), "new", "device")
	r := runExample(t.Context(), nil, "-out", out, "-template", "mine", "-param", "ThingName=pump-7", "-param", "Note=a=b")
	require.Equal(t, 0, r.status, r.stderr)
	assert.Contains(t, r.stdout, "Template: mine\n")
	assert.Equal(t, "pump-7", requireCredentials(t, out).ThingName)
}

func TestAWS(t *testing.T) {
	server, environment, pfx := aws(t)
	out := filepath.Join(t.TempDir(), "device")
	r := runExample(t.Context(), environment, "-pfx", pfx, "-out", out, "-cbor", "-csr",
		"-param", "SerialNumber=0042", "-param", "Site=north=1")
	require.Equal(t, 0, r.status, r.stderr)
	assert.NotContains(t, r.stdout, "embedded")

	credentials := requireCredentials(t, out)
	assert.Equal(t, "0042", credentials.ThingName)
	assert.Equal(t, server.Endpoint(), credentials.Endpoint)
	assert.Equal(t, map[string]string{"SerialNumber": "0042", "Site": "north=1"}, server.Things()[0].Parameters)
	assertNoSecret(t, r, credentials.PrivateKeyPEM())

	var topics, clientIDs []string
	for _, request := range server.Requests() {
		switch {
		case request.Op == fleetprovtest.OpConnect:
			clientIDs = append(clientIDs, request.ClientID)
		case request.Topic != "":
			topics = append(topics, request.Topic)
		}
	}
	assert.Equal(t, []string{
		"$aws/certificates/create-from-csr/cbor",
		"$aws/provisioning-templates/fleet-template/provision/cbor",
	}, topics)
	require.Len(t, clientIDs, 2)
	assert.Equal(t, "0042", clientIDs[1], "the second connection is the device's own")
}

func TestAWSLeavesCredentialsInTheWorkingDirectory(t *testing.T) {
	_, environment, pfx := aws(t)
	t.Chdir(t.TempDir())
	arguments := []string{"-pfx", pfx, "-param", "SerialNumber=0042"}
	r := runExample(t.Context(), environment, arguments...)
	require.Equal(t, 0, r.status, r.stderr)
	assert.Contains(t, r.stdout, filepath.Join("device-credentials", "credentials.pem"))
	requireCredentials(t, "device-credentials")
}
