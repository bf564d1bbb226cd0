package fleetprov_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestProvisionReturnsWhatTheDeviceNeeds(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.Parameters = []string{"SerialNumber"}
	server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site"}
	server.Start()
	defer server.Close()

	credentials, err := newProvisioner(t, server).Provision(t.Context(), map[string]string{"SerialNumber": "12345"})
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
	server := newServer(t)
	_, err := newProvisioner(t, server, fleetprov.WithClientID("gateway-7")).Provision(t.Context(), map[string]string{"SerialNumber": "1"})
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

func TestBothTLSVersions(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
			server.Start()
			defer server.Close()
			_, err := newProvisioner(t, server).Provision(t.Context(), nil)
			assert.NoError(t, err)
		})
	}
}

// What AWS may do to a message changes nothing: it may come twice, late, or
// before the acknowledgement of its subscription (AWS developer guide, "mqtt").
func TestMessagesThatChangeNothing(t *testing.T) {
	const accepted = "$aws/certificates/create/json/accepted"
	publish := func(topic, payload string) []byte {
		body := append([]byte{0, byte(len(topic))}, topic...)
		body = append(append(body, 0, 99), payload...)
		return append([]byte{0x32, byte(len(body))}, body...)
	}
	suback := []byte{0x90, 6, 0, 1, 1, 1, 1, 1}
	for name, test := range map[string]struct {
		op    fleetprovtest.Op
		fault fleetprovtest.Fault
	}{
		"Create answered twice":         {fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Duplicate: true}},
		"Register answered twice":       {fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Duplicate: true}},
		"SUBACK twice":                  {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Delay: time.Second}},
		"an answer before any question": {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Response: append(publish(accepted, "{}"), suback...)}},
		"an unknown topic":              {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Response: append(publish("some/topic", "{}"), suback...)}},
		"a PUBACK for nothing":          {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Response: append([]byte{0x40, 2, 0, 77}, suback...)}},
		"slow answers":                  {fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Delay: 20 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := onPipes(t)
				server.Inject(test.op, test.fault)
				credentials, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": "1"})
				require.NoError(t, err)
				assert.Equal(t, "1", credentials.ThingName)
				assert.Len(t, server.Certificates(), 1)
				assert.Len(t, server.Things(), 1)
			})
		})
	}
}

func TestProgressTellsEachStepInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []fleetprov.Progress
		server, provisioner := onPipes(t, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) { seen = append(seen, p) }))
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

// One Provisioner serves a factory station that provisions many devices at once.
func TestConcurrentRuns(t *testing.T) {
	for name, test := range map[string]struct {
		options []fleetprov.Option
		takes   time.Duration
	}{
		"each under its own client id": {nil, 0},
		// AWS IoT ends a connection when another comes under its client id, and
		// takes one in ten seconds.
		"queued under one client id": {[]fleetprov.Option{fleetprov.WithClientID("station-1")}, 110 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := onPipes(t, append(test.options, fleetprov.WithGeneratedKey())...)
				began := time.Now()
				var runs sync.WaitGroup
				for i := range 12 {
					runs.Go(func() {
						_, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": string(rune('A' + i))})
						assert.NoError(t, err)
					})
				}
				runs.Wait()
				assert.Len(t, server.Things(), 12)
				assert.Equal(t, test.takes, time.Since(began))
			})
		})
	}
}

func TestWaitingForAClientIDEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := onPipes(t, fleetprov.WithClientID("station-1"))
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: 20 * time.Second})
		first := make(chan error)
		go func() {
			_, err := provisioner.Provision(t.Context(), nil)
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := provisioner.Provision(ctx, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NoError(t, <-first)
	})
}

func TestZeroValues(t *testing.T) {
	var p fleetprov.Provisioner
	_, err := p.Provision(t.Context(), nil)
	assert.ErrorContains(t, err, "New")
	_, err = (*fleetprov.Provisioner)(nil).Provision(t.Context(), nil)
	assert.ErrorContains(t, err, "New")
	_, err = fleetprov.New("localhost", testTemplate, new(fleetprov.Identity))
	assert.ErrorContains(t, err, "claim")
}
