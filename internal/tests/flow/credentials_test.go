package flow_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/amazonroots"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// assertConnects connects as the device with a client that knows nothing but
// the TLS configuration, publishes, and receives what it published.
func assertConnects(t *testing.T, server *fleetprovtest.Server, credentials *fleetprov.Credentials) {
	t.Helper()
	assertConnectsOver(t, new(net.Dialer).DialContext, server, credentials)
}

// dialer opens a connection.
type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// assertConnectsOver is assertConnects for a server that dial reaches.
func assertConnectsOver(t *testing.T, dial dialer, server *fleetprovtest.Server, credentials *fleetprov.Credentials) {
	t.Helper()
	config, err := credentials.TLSConfig()
	require.NoError(t, err)
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + server.Endpoint()).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			raw, err := dial(t.Context(), "tcp", server.Endpoint())
			if err != nil {
				return nil, err
			}
			return tls.Client(raw, config), nil
		}).
		SetClientID(credentials.ThingName).
		SetAutoReconnect(false).
		SetProtocolVersion(4))
	await := func(token mqtt.Token) {
		t.Helper()
		require.True(t, token.WaitTimeout(20*time.Second))
		require.NoError(t, token.Error())
	}
	await(client.Connect())
	defer client.Disconnect(0)
	received := make(chan string, 1)
	await(client.Subscribe("telemetry", 1, func(_ mqtt.Client, m mqtt.Message) { received <- string(m.Payload()) }))
	await(client.Publish("telemetry", 1, false, "21.5"))
	select {
	case payload := <-received:
		assert.Equal(t, "21.5", payload)
	case <-t.Context().Done():
	case <-time.After(20 * time.Second):
		t.Error("nothing was received")
	}
}

// credentialsKey returns the private key of credentials.
func credentialsKey(t *testing.T, credentials *fleetprov.Credentials) crypto.Signer {
	t.Helper()
	certificate, err := credentials.TLSCertificate()
	require.NoError(t, err)
	return certificate.PrivateKey.(crypto.Signer)
}

func TestTLSConfigIsAllAClientNeeds(t *testing.T) {
	server := provtest.NewServer(t)
	for name, opts := range map[string][]fleetprov.Option{
		"with a key made by AWS":        nil,
		"with a key made on the device": {fleetprov.WithGeneratedKey()},
	} {
		t.Run(name, func(t *testing.T) { assertConnects(t, server, provtest.Provisioned(t, server, opts...)) })
	}
}

func TestTLSConfigForEachEndpoint(t *testing.T) {
	credentials := provtest.Provisioned(t, provtest.NewServer(t))
	certificate, err := credentials.TLSCertificate()
	require.NoError(t, err)
	for _, test := range []struct {
		endpoint, serverName string
		protocols            []string
	}{
		{"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:8883", "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com", nil},
		{"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443", "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com", []string{"x-amzn-mqtt-ca"}},
		{"xxxxxxxx.ats.iot.cn-north-1.amazonaws.com.cn", "xxxxxxxx.ats.iot.cn-north-1.amazonaws.com.cn", nil},
	} {
		t.Run(test.endpoint, func(t *testing.T) {
			device := *credentials
			device.Endpoint = test.endpoint
			config, err := device.TLSConfig()
			require.NoError(t, err)
			assert.Equal(t, test.serverName, config.ServerName)
			assert.Equal(t, test.protocols, config.NextProtos)
			assert.Equal(t, uint16(tls.VersionTLS12), config.MinVersion)
			assert.Equal(t, []tls.Certificate{certificate}, config.Certificates)
			presented, err := config.GetClientCertificate(new(tls.CertificateRequestInfo))
			require.NoError(t, err)
			assert.Equal(t, &certificate, presented)
			assert.True(t, config.RootCAs.Equal(credentialsRoots(credentials.Roots...)), "Amazon's roots and the claim's")

			device.Roots = nil
			config, err = device.TLSConfig()
			require.NoError(t, err)
			assert.True(t, config.RootCAs.Equal(credentialsRoots()), "Amazon's roots need no mention")
		})
	}
}

func credentialsRoots(more ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range append(amazonroots.Certificates(), more...) {
		pool.AddCert(root)
	}
	return pool
}

func TestTLSConfigIsNewEachTime(t *testing.T) {
	credentials := provtest.Provisioned(t, provtest.NewServer(t))
	one, err := credentials.TLSConfig()
	require.NoError(t, err)
	one.RootCAs.AddCert(one.Certificates[0].Leaf)
	one.ServerName, one.Certificates[0].PrivateKey = "changed", nil

	other, err := credentials.TLSConfig()
	require.NoError(t, err)
	assert.Equal(t, "localhost", other.ServerName)
	assert.NotNil(t, other.Certificates[0].PrivateKey)
	assert.True(t, other.RootCAs.Equal(credentialsRoots(credentials.Roots...)))
}

// Provisioning again is what rotation does (AWS developer guide,
// "provision-wo-cert").
func TestIdentityProvisionsAgainUnderTheThingName(t *testing.T) {
	server := provtest.NewServer(t)
	claim := provtest.Claim(t, server)
	first, err := provtest.NewProvisioner(t, server).Provision(provtest.Context(t), map[string]string{"SerialNumber": "12345"})
	require.NoError(t, err)
	assert.Equal(t, "12345", first.ThingName)
	identity, err := first.Identity()
	require.NoError(t, err)
	assert.Equal(t, first.CertificatePEM, provtest.PEM("CERTIFICATE", identity.Certificate().Raw))
	assert.Equal(t, claim.Roots(), identity.Roots())

	provisioner, err := fleetprov.New(first.Endpoint, provtest.Template, identity)
	require.NoError(t, err)
	second, err := provisioner.Provision(provtest.Context(t), map[string]string{"SerialNumber": "12345"})
	require.NoError(t, err)
	assert.Equal(t, "12345", second.ThingName)
	assert.NotEqual(t, first.CertificateID, second.CertificateID)
	assert.Equal(t, first.Roots, second.Roots)

	requests := server.Requests()
	require.Len(t, requests, 8)
	assert.NotEqual(t, "12345", requests[0].ClientID, "the claim is shared, and its client ids are not")
	assert.Equal(t, "12345", requests[4].ClientID)

	provisioner, err = fleetprov.New(first.Endpoint, provtest.Template, identity, fleetprov.WithClientID("gateway-7"))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Equal(t, "gateway-7", server.Requests()[8].ClientID, "what is asked for goes before what is guessed")
}

func TestPrivateKeyComesBackFromHardware(t *testing.T) {
	server := provtest.NewServer(t)
	key := provtest.HardwareKey{Signer: devicekeyP256(t)}
	data, err := provtest.Provisioned(t, server, fleetprov.WithPrivateKey(key)).MarshalPEM()
	require.NoError(t, err)
	assert.NotContains(t, string(data), "PRIVATE KEY")
	credentials, err := fleetprov.ParseCredentials(data)
	require.NoError(t, err)
	assert.Nil(t, credentials.PrivateKeyPEM())

	refuse := func() {
		t.Helper()
		_, err := credentials.TLSCertificate()
		assert.ErrorContains(t, err, "SetPrivateKey")
		_, err = credentials.TLSConfig()
		assert.ErrorContains(t, err, "SetPrivateKey")
		_, err = credentials.Identity()
		assert.ErrorContains(t, err, "SetPrivateKey")
		_, err = credentials.EncodePFX(provtest.Password)
		assert.ErrorContains(t, err, "SetPrivateKey")
	}
	refuse()
	for name, wrong := range map[string]crypto.Signer{
		"nil": nil, "of another device": devicekeyP256(t), "of a token without a key": provtest.HardwareKey{Signer: identityBlank{}},
	} {
		require.Error(t, credentials.SetPrivateKey(wrong), name)
		refuse()
	}

	require.NoError(t, credentials.SetPrivateKey(key))
	assertConnects(t, server, credentials)
	assert.Nil(t, credentials.PrivateKeyPEM())
	_, err = credentials.EncodePFX(provtest.Password)
	assert.ErrorContains(t, err, "hardware")
	again, err := credentials.MarshalPEM()
	require.NoError(t, err)
	assert.Equal(t, string(data), string(again))

	require.Error(t, credentials.SetPrivateKey(devicekeyP256(t)))
	certificate, err := credentials.TLSCertificate()
	require.NoError(t, err)
	assert.Equal(t, key, certificate.PrivateKey, "a wrong key does not displace the right one")
}

func TestCredentialsThatAreIncomplete(t *testing.T) {
	server := provtest.NewServer(t)
	whole, another := provtest.Provisioned(t, server), provtest.Provisioned(t, server)
	swapped := *whole
	swapped.CertificatePEM = another.CertificatePEM
	noCertificate := *whole
	noCertificate.CertificatePEM = nil
	damaged := *whole
	damaged.CertificatePEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1, 2, 3}})
	foreign := *whole
	foreign.CertificatePEM = whole.PrivateKeyPEM()

	for name, credentials := range map[string]*fleetprov.Credentials{
		"zero":                              new(fleetprov.Credentials),
		"a certificate without its key":     {CertificatePEM: whole.CertificatePEM, Endpoint: whole.Endpoint},
		"another device's certificate":      &swapped,
		"a key without its certificate":     &noCertificate,
		"a certificate that is none":        &damaged,
		"another thing for the certificate": &foreign,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := credentials.TLSCertificate()
			assert.Error(t, err)
			config, err := credentials.TLSConfig()
			assert.Error(t, err)
			assert.Nil(t, config)
			identity, err := credentials.Identity()
			assert.Error(t, err)
			assert.Nil(t, identity)
			pfx, err := credentials.EncodePFX(provtest.Password)
			assert.Error(t, err)
			assert.Empty(t, len(pfx))
			data, err := credentials.MarshalPEM()
			require.Error(t, err, "it could not be read back")
			assert.Empty(t, len(data))
			assert.NotContains(t, err.Error(), "MII", "no part of a key or certificate is told")
		})
	}

	nowhere := *whole
	nowhere.Endpoint = ""
	_, err := nowhere.TLSConfig()
	assert.ErrorContains(t, err, "endpoint")
}

func TestPFXIsReadBack(t *testing.T) {
	server := provtest.NewServer(t)
	for name, opts := range map[string][]fleetprov.Option{
		"with a key made by AWS":        nil,
		"with a key made on the device": {fleetprov.WithGeneratedKey()},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := provtest.Provisioned(t, server, opts...)
			require.NotEmpty(t, credentials.Roots)
			data, err := credentials.EncodePFX("device-p4ssword")
			require.NoError(t, err)
			identity, err := fleetprov.ParsePFX(data, "device-p4ssword")
			require.NoError(t, err)
			assert.Equal(t, credentials.CertificatePEM, provtest.PEM("CERTIFICATE", identity.Certificate().Raw))
			assert.Equal(t, credentials.Roots, identity.Roots())

			provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, identity)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assert.NoError(t, err, "the key is in it")

			_, err = fleetprov.ParsePFX(data, "another")
			assert.ErrorIs(t, err, fleetprov.ErrIncorrectPassword)
		})
	}
}

// An intermediate travels in the client's chain and not among the roots, wherever it
// came from.
func TestPFXWithAChain(t *testing.T) {
	data, err := os.ReadFile(provtest.Root(t, "internal/pfx/testdata/chain-intermediate-rootca.p12"))
	require.NoError(t, err)
	key, leaf, others, err := pkcs12.DecodeChain(data, "secret")
	require.NoError(t, err)
	require.Len(t, others, 2)
	issuer, root := others[0], others[1]
	credentials := &fleetprov.Credentials{
		CertificatePEM: append(provtest.PEM("CERTIFICATE", leaf.Raw), provtest.PEM("CERTIFICATE", issuer.Raw)...),
		Roots:          []*x509.Certificate{root},
	}
	require.NoError(t, credentials.SetPrivateKey(key.(crypto.Signer)))
	data, err = credentials.EncodePFX("device-p4ssword")
	require.NoError(t, err)

	_, again, inside, err := pkcs12.DecodeChain(data, "device-p4ssword")
	require.NoError(t, err)
	assert.Equal(t, leaf, again)
	assert.Equal(t, others, inside)
	identity, err := fleetprov.ParsePFX(data, "device-p4ssword")
	require.NoError(t, err)
	assert.Equal(t, credentials.Roots, identity.Roots())
	var sent identityChain
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, VerifyPeerCertificate: sent.record}
	server.Start()
	defer server.Close()
	provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt)
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.ErrorIs(t, err, fleetprov.ErrClosedOnConnect, "the server has not issued this certificate")
	assert.Equal(t, []string{"AWS IoT Certificate", "Private Intermediate"}, sent.names())

	credentials.CertificatePEM = append(credentials.CertificatePEM, provtest.PEM("CERTIFICATE", []byte("damaged"))...)
	_, err = credentials.EncodePFX("device-p4ssword")
	assert.ErrorContains(t, err, "the credentials' certificate chain")
}

func TestCredentialsHaveNoJSON(t *testing.T) {
	credentials := provtest.Provisioned(t, provtest.NewServer(t))
	for name, value := range map[string]any{
		"a pointer":             credentials,
		"a value":               *credentials,
		"a zero value":          fleetprov.Credentials{},
		"a field":               struct{ Device fleetprov.Credentials }{*credentials},
		"a field of a pointer":  &struct{ Device fleetprov.Credentials }{*credentials},
		"a field that points":   struct{ Device *fleetprov.Credentials }{credentials},
		"embedded":              struct{ fleetprov.Credentials }{*credentials},
		"embedded in a pointer": &struct{ fleetprov.Credentials }{*credentials},
		"embedded as a pointer": struct{ *fleetprov.Credentials }{credentials},
		"a slice":               []fleetprov.Credentials{*credentials},
		"a map":                 map[string]fleetprov.Credentials{"": *credentials},
		"behind an interface":   struct{ Device any }{*credentials},
		"embedded next to more": struct {
			*fleetprov.Credentials
			Firmware string
		}{credentials, "1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(value)
			assert.Empty(t, text)
			assert.ErrorContains(t, err, "MarshalPEM")
			var b bytes.Buffer
			assert.ErrorContains(t, json.NewEncoder(&b).Encode(value), "MarshalPEM")
			assert.Empty(t, b.String())
		})
	}
	text, err := credentials.MarshalJSON()
	assert.Nil(t, text)
	assert.ErrorContains(t, err, "MarshalPEM")
}
