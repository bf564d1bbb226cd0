package interop_test

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// The broker in these tests is Mosquitto as Debian ships it: a server whose
// TLS, MQTT and patience with clients are not this module's. It knows nothing
// of AWS, whose part is played by a client behind it.

func TestMosquittoProvisions(t *testing.T) {
	t.Cleanup(func() { provtest.NoGoroutineLeft(t) })
	broker := startMosquitto(t)
	aws := startMosquittoResponder(t, broker)

	for name, opts := range map[string][]fleetprov.Option{
		"with a key from AWS, in JSON":               {},
		"with a key from AWS, in CBOR":               {fleetprov.WithCBOR()},
		"with a key from the device, in JSON":        {fleetprov.WithGeneratedKey()},
		"with a key from the device, in CBOR":        {fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()},
		"over TLS 1.2":                               {fleetprov.WithTLSConfig(&tls.Config{MaxVersion: tls.VersionTLS12})},
		"over TLS 1.3":                               {fleetprov.WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13})},
		"under a client id of the caller's":          {fleetprov.WithClientID("factory-line-7")},
		"and connects with the new certificate":      {fleetprov.WithVerification()},
		"and connects with the key that never moved": {fleetprov.WithVerification(), fleetprov.WithGeneratedKey()},
	} {
		t.Run(name, func(t *testing.T) {
			p := broker.provisioner(t, broker.ca, opts...)
			credentials, err := p.Provision(provtest.Context(t), map[string]string{"SerialNumber": "0001"})
			require.NoError(t, err)

			issued := aws.lastIssued()
			assert.Equal(t, "device-0001", credentials.ThingName)
			assert.Equal(t, issued.id, credentials.CertificateID)
			assert.Equal(t, issued.pem, string(credentials.CertificatePEM))
			assert.Equal(t, broker.address, credentials.Endpoint)
			assert.Equal(t, map[string]string{"telemetryIntervalSeconds": "60"}, credentials.DeviceConfiguration)

			config, err := credentials.TLSConfig()
			require.NoError(t, err)
			broker.connect(t, credentials.ThingName, config)
		})
	}
}

func TestMosquittoCarriesARejection(t *testing.T) {
	t.Cleanup(func() { provtest.NoGoroutineLeft(t) })
	broker := startMosquitto(t)
	startMosquittoResponder(t, broker)

	p := broker.provisioner(t, broker.ca)
	credentials, err := p.Provision(provtest.Context(t), map[string]string{"SerialNumber": "stolen"})
	assert.Nil(t, credentials)

	var failure *fleetprov.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, fleetprov.OpRegisterThing, failure.Op)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, &fleetprov.RejectedError{StatusCode: 403, Code: "ACCESS_DENIED", Message: "no such serial number"}, rejected)
	assert.False(t, fleetprov.Retryable(err))
}

func TestMosquittoRefusesTheClaimOfAnUnknownCA(t *testing.T) {
	broker := startMosquitto(t)

	for name, version := range map[string]uint16{
		"in the handshake of TLS 1.2":    tls.VersionTLS12,
		"after the handshake of TLS 1.3": tls.VersionTLS13,
	} {
		t.Run(name, func(t *testing.T) {
			p := broker.provisioner(t, testca.New("another factory"),
				fleetprov.WithTLSConfig(&tls.Config{MinVersion: version, MaxVersion: version}))
			credentials, err := p.Provision(provtest.Context(t), nil)
			assert.Nil(t, credentials)

			var failure *fleetprov.Error
			require.ErrorAs(t, err, &failure)
			assert.Equal(t, fleetprov.OpConnect, failure.Op)
			assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
			assert.False(t, fleetprov.Retryable(err))
			provtest.NoGoroutineLeft(t)
		})
	}
}
