package fleetprov_test

import (
	"context"
	"encoding/pem"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestProvisionReturnsWhatTheDeviceNeeds(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.Parameters = []string{"SerialNumber"}
	server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site"}
	server.Start()
	defer server.Close()

	credentials, err := provtest.NewProvisioner(t, server).Provision(t.Context(), map[string]string{"SerialNumber": "12345"})
	require.NoError(t, err)

	issued := server.Certificates()
	require.Len(t, issued, 1)
	assert.Equal(t, "ACTIVE", issued[0].Status)
	assert.Equal(t, issued[0].ID, credentials.CertificateID)
	assert.Equal(t, issued[0].ThingName, credentials.ThingName)
	assert.Equal(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued[0].Certificate.Raw})), string(credentials.CertificatePEM))
	assert.Equal(t, server.Endpoint(), credentials.Endpoint)
	assert.Equal(t, map[string]string{"FallbackUrl": "https://www.example.com/test-site"}, credentials.DeviceConfiguration)
	require.Len(t, credentials.Roots, 1, "the root of the server came with the claim")
	assert.Contains(t, string(credentials.PrivateKeyPEM()), "BEGIN PRIVATE KEY")
	things := server.Things()
	require.Len(t, things, 1)
	assert.Equal(t, map[string]string{"SerialNumber": "12345"}, things[0].Parameters)
}

// The topics are those of the AWS developer guide, "fleet-provision-api".
func TestTheExchangeIsTheProtocolAndNothingElse(t *testing.T) {
	server := provtest.NewServer(t)
	_, err := provtest.NewProvisioner(t, server, fleetprov.WithClientID("gateway-7")).Provision(t.Context(), map[string]string{"SerialNumber": "1"})
	require.NoError(t, err)

	requests := server.Requests()
	require.Len(t, requests, 4)
	assert.Equal(t, fleetprovtest.OpConnect, requests[0].Op)
	assert.Equal(t, "gateway-7", requests[0].ClientID)
	assert.Equal(t, fleetprovtest.OpSubscribe, requests[1].Op)
	assert.ElementsMatch(t, []string{
		"$aws/certificates/create/json/accepted",
		"$aws/certificates/create/json/rejected",
		"$aws/provisioning-templates/test-template/provision/json/accepted",
		"$aws/provisioning-templates/test-template/provision/json/rejected",
	}, requests[1].Filters)
	assert.Equal(t, "$aws/certificates/create/json", requests[2].Topic)
	assert.Empty(t, requests[2].Payload)
	assert.Equal(t, "$aws/provisioning-templates/test-template/provision/json", requests[3].Topic)
	assert.Contains(t, string(requests[3].Payload), `"parameters":{"SerialNumber":"1"}`)
}

func TestProgressTellsEachStepInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []fleetprov.Progress
		server, provisioner := provtest.OnPipes(t, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) { seen = append(seen, p) }))
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Delay: 5 * time.Second})
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, []fleetprov.Progress{
			{Op: "Connect", Attempt: 1}, {Op: "Connect", Attempt: 1, Done: true},
			{Op: "Subscribe", Attempt: 1}, {Op: "Subscribe", Attempt: 1, Done: true},
			{Op: "CreateKeysAndCertificate", Attempt: 1}, {Op: "CreateKeysAndCertificate", Attempt: 1, Done: true},
			{Op: "RegisterThing", Attempt: 1}, {Op: "RegisterThing", Attempt: 1, Done: true, Elapsed: 5 * time.Second},
		}, seen)
	})
}

// TestRefusedDevice is the test that the README shows.
func TestRefusedDevice(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	require.NoError(t, err)
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	require.NoError(t, err)

	_, err = provisioner.Provision(t.Context(), nil)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, 403, rejected.StatusCode)
	assert.Empty(t, server.Things())
}

func TestZeroValues(t *testing.T) {
	var p fleetprov.Provisioner
	_, err := p.Provision(t.Context(), nil)
	assert.ErrorContains(t, err, "New")
	_, err = (*fleetprov.Provisioner)(nil).Provision(t.Context(), nil)
	assert.ErrorContains(t, err, "New")
	_, err = fleetprov.New("localhost", provtest.Template, new(fleetprov.Identity))
	assert.ErrorContains(t, err, "claim")
}
