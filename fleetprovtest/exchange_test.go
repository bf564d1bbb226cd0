package fleetprovtest_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// The topics of the flow with CreateKeysAndCertificate, as in AWS's page
// "Device provisioning MQTT API".
const (
	createTopic   = "$aws/certificates/create/json"
	csrTopic      = "$aws/certificates/create-from-csr/json"
	registerTopic = "$aws/provisioning-templates/test-template/provision/json"
)

var flowFilters = []string{
	"$aws/certificates/create/json/accepted",
	"$aws/certificates/create/json/rejected",
	"$aws/provisioning-templates/test-template/provision/json/accepted",
	"$aws/provisioning-templates/test-template/provision/json/rejected",
}

// created is what CreateKeysAndCertificate and CreateCertificateFromCsr answer.
type created struct {
	CertificateID             string  `json:"certificateId"`
	CertificatePEM            string  `json:"certificatePem"`
	PrivateKey                *string `json:"privateKey"`
	CertificateOwnershipToken string  `json:"certificateOwnershipToken"`
}

// certificate returns the certificate and the key that CreateKeysAndCertificate has
// answered with.
func (k created) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	certificate, err := tls.X509KeyPair([]byte(k.CertificatePEM), []byte(*k.PrivateKey))
	require.NoError(t, err)
	return certificate
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func decode[T any](t *testing.T, payload []byte) T {
	t.Helper()
	var value T
	require.NoError(t, json.Unmarshal(payload, &value))
	return value
}

// createKeys runs CreateKeysAndCertificate.
func (c *client) createKeys() created {
	c.t.Helper()
	answer := c.request("$aws/certificates/create/json", "")
	require.Equal(c.t, "$aws/certificates/create/json/accepted", answer.TopicName)
	return decode[created](c.t, answer.Payload)
}

// templateTopic is where RegisterThing of a template is published.
func templateTopic(template string) string {
	return "$aws/provisioning-templates/" + template + "/provision/json"
}

// register runs RegisterThing, and returns its answer.
func (c *client) register(template, token, parameters string) *packets.PublishPacket {
	c.t.Helper()
	topic := templateTopic(template)
	c.subscribe(topic+"/accepted", topic+"/rejected")
	return c.request(topic, `{"certificateOwnershipToken":"`+token+`","parameters":`+parameters+`}`)
}

// rejects requires that an answer is a rejection.
func rejects(t *testing.T, answer *packets.PublishPacket, status int, code string) {
	t.Helper()
	require.True(t, strings.HasSuffix(answer.TopicName, "/rejected"), "%s: %s", answer.TopicName, answer.Payload)
	got := decode[rejection](t, answer.Payload)
	assert.Equal(t, status, got.StatusCode)
	assert.Equal(t, code, got.ErrorCode)
}

func derOf(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	require.NotNil(t, block)
	return block.Bytes
}

// provision runs the whole exchange on a connection of the claim.
func (c *client) provision(parameters string) (created, tls.Certificate) {
	c.t.Helper()
	c.subscribe(flowFilters...)
	keys := c.createKeys()
	request := `{"certificateOwnershipToken":"` + keys.CertificateOwnershipToken + `","parameters":` + parameters + `}`
	answer := c.request(registerTopic, request)
	require.Equal(c.t, registerTopic+"/accepted", answer.TopicName, "%s", answer.Payload)
	return keys, keys.certificate(c.t)
}

func TestDeviceProvisionsAndConnects(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.Parameters = []string{"SerialNumber"}
	server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site"}
	server.Start()
	defer closeServer(t, server)

	c := connectClaim(t, server)
	c.subscribe(flowFilters...)
	keys := c.createKeys()

	leaf := keys.certificate(t)
	assert.Equal(t, sha256Hex(leaf.Certificate[0]), keys.CertificateID)
	assert.Equal(t, "AWS IoT Certificate", leaf.Leaf.Subject.CommonName)
	assert.True(t, leaf.Leaf.NotBefore.Before(time.Now().Add(-time.Minute)), "clocks may be a little behind")
	assert.Equal(t, 2049, leaf.Leaf.NotAfter.Year())
	assert.Contains(t, *keys.PrivateKey, "BEGIN RSA PRIVATE KEY")
	require.Len(t, server.Certificates(), 1)
	assert.Equal(t, "PENDING_ACTIVATION", server.Certificates()[0].Status)

	answer := c.request("$aws/provisioning-templates/test-template/provision/json",
		`{"certificateOwnershipToken":"`+keys.CertificateOwnershipToken+`","parameters":{"SerialNumber":"SN-1"}}`)
	assert.Equal(t, "$aws/provisioning-templates/test-template/provision/json/accepted", answer.TopicName)
	assert.JSONEq(t, `{"thingName":"SN-1","deviceConfiguration":{"FallbackUrl":"https://www.example.com/test-site"}}`, string(answer.Payload))

	assert.Equal(t, []fleetprovtest.Thing{{
		Name:           "SN-1",
		Parameters:     map[string]string{"SerialNumber": "SN-1"},
		CertificateIDs: []string{keys.CertificateID},
	}}, server.Things())
	issued := server.Certificates()[0]
	assert.Equal(t, keys.CertificateID, issued.ID)
	assert.Equal(t, "ACTIVE", issued.Status)
	assert.Equal(t, "SN-1", issued.ThingName)

	device := connectAs(t, server, leaf, "SN-1")
	device.subscribe("telemetry/#")
	device.publish("telemetry/SN-1", "hello")
}
