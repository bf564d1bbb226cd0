package fleetprovtest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

type rejection struct {
	StatusCode   int    `json:"statusCode"`
	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
}

func TestCreateKeysAndCertificateTakesNothingOrAnObject(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(flowFilters...)
	for payload, suffix := range map[string]string{
		"":         "/accepted",
		"{}":       "/accepted",
		"null":     "/rejected",
		"[]":       "/rejected",
		"{":        "/rejected",
		"{} {}":    "/rejected",
		"\xa0":     "/rejected",
		`"accept"`: "/rejected",
	} {
		t.Run(payload, func(t *testing.T) {
			answer := c.request(createTopic, payload)
			assert.Equal(t, createTopic+suffix, answer.TopicName)
			if suffix == "/rejected" {
				assert.Equal(t, 400, decode[rejection](t, answer.Payload).StatusCode)
			}
		})
	}
}

func TestKeysAndTokensAreHandedOutOnce(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(flowFilters...)
	first, second := c.createKeys(), c.createKeys()
	assert.NotEqual(t, first.PrivateKey, second.PrivateKey)
	assert.NotEqual(t, first.CertificateOwnershipToken, second.CertificateOwnershipToken)
	assert.NotEqual(t, first.CertificateID, second.CertificateID)
}

func TestRegisterThingRejects(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.Parameters = []string{"SerialNumber"}
	server.Start()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(flowFilters...)
	token := c.createKeys().CertificateOwnershipToken
	for _, test := range []struct {
		name, payload string
		code          string
	}{
		{"not JSON", `certificateOwnershipToken`, "InvalidRequest"},
		{"no payload", ``, "InvalidRequest"},
		{"no token", `{"parameters":{"SerialNumber":"1"}}`, "InvalidCertificateOwnershipToken"},
		{"an unknown token", `{"certificateOwnershipToken":"eyJ2ZXJzaW9uIjoi","parameters":{"SerialNumber":"1"}}`, "InvalidCertificateOwnershipToken"},
		{"a token that is not a string", `{"certificateOwnershipToken":1}`, "InvalidRequest"},
		{"no parameters", `{"certificateOwnershipToken":"` + token + `"}`, "InvalidParameters"},
		{"a missing parameter", `{"certificateOwnershipToken":"` + token + `","parameters":{"Other":"1"}}`, "InvalidParameters"},
		{"a number for a parameter", `{"certificateOwnershipToken":"` + token + `","parameters":{"SerialNumber":1}}`, "InvalidParameters"},
		{"null for a parameter", `{"certificateOwnershipToken":"` + token + `","parameters":{"SerialNumber":null}}`, "InvalidParameters"},
		{"null for the parameters", `{"certificateOwnershipToken":"` + token + `","parameters":null}`, "InvalidParameters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := c.request(registerTopic, test.payload)
			assert.Equal(t, registerTopic+"/rejected", answer.TopicName)
			got := decode[rejection](t, answer.Payload)
			assert.Equal(t, 400, got.StatusCode)
			assert.Equal(t, test.code, got.ErrorCode)
			assert.NotEmpty(t, got.ErrorMessage)
			assert.NotContains(t, got.ErrorMessage, token)
		})
	}
	assert.Empty(t, server.Things())
	assert.Equal(t, "PENDING_ACTIVATION", server.Certificates()[0].Status)
}

func TestThingNames(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	for _, test := range []struct {
		name, parameters string
		thingName        func(certificateID string) string
	}{
		{"ThingName comes first", `{"ThingName":"thing","SerialNumber":"serial"}`, func(string) string { return "thing" }},
		{"then SerialNumber", `{"SerialNumber":"serial"}`, func(string) string { return "serial" }},
		{"then the certificate id", `{}`, func(id string) string { return "thing-" + id[:16] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, _ := connectClaim(t, server).provision(test.parameters)
			things := server.Things()
			assert.Equal(t, test.thingName(keys.CertificateID), things[len(things)-1].Name)
		})
	}
}

func TestRegisterThingMayBeRepeated(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(flowFilters...)
	token := c.createKeys().CertificateOwnershipToken

	request := `{"certificateOwnershipToken":"` + token + `","parameters":{"SerialNumber":"SN-1"}}`
	assert.JSONEq(t, `{"thingName":"SN-1"}`, string(c.request(registerTopic, request).Payload))
	assert.JSONEq(t, `{"thingName":"SN-1"}`, string(c.request(registerTopic, request).Payload))
	other := `{"certificateOwnershipToken":"` + token + `","parameters":{"SerialNumber":"SN-2"}}`
	assert.JSONEq(t, `{"thingName":"SN-1"}`, string(c.request(registerTopic, other).Payload), "a certificate keeps its thing")
	assert.Len(t, server.Things(), 1)
}

func TestDeviceConfigurationMayBeEmpty(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.DeviceConfiguration = map[string]string{}
	server.Start()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(flowFilters...)
	token := c.createKeys().CertificateOwnershipToken
	answer := c.request(registerTopic, `{"certificateOwnershipToken":"`+token+`","parameters":{"ThingName":"a"}}`)
	assert.JSONEq(t, `{"thingName":"a","deviceConfiguration":{}}`, string(answer.Payload))
}
