package fleetprovtest_test

import (
	"crypto/tls"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestExchangeInCBOR(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.DeviceConfiguration = map[string]string{"Interval": "60"}
	server.Start()
	defer server.Close()
	c := connectClaim(t, server)
	c.subscribe(
		"$aws/certificates/create/cbor/accepted",
		"$aws/certificates/create/cbor/rejected",
		"$aws/provisioning-templates/test-template/provision/cbor/accepted",
		"$aws/provisioning-templates/test-template/provision/cbor/rejected",
	)

	answer := c.request("$aws/certificates/create/cbor", "\xa0")
	require.Equal(t, "$aws/certificates/create/cbor/accepted", answer.TopicName)
	var keys map[string]string
	require.NoError(t, cbor.Unmarshal(answer.Payload, &keys))
	_, err := tls.X509KeyPair([]byte(keys["certificatePem"]), []byte(keys["privateKey"]))
	require.NoError(t, err)
	assert.Len(t, keys["certificateId"], 64)

	request, err := cbor.Marshal(map[string]any{
		"certificateOwnershipToken": keys["certificateOwnershipToken"],
		"parameters":                map[string]string{"SerialNumber": "SN-1"},
	})
	require.NoError(t, err)
	answer = c.request("$aws/provisioning-templates/test-template/provision/cbor", string(request))
	require.Equal(t, "$aws/provisioning-templates/test-template/provision/cbor/accepted", answer.TopicName)
	var registered map[string]any
	require.NoError(t, cbor.Unmarshal(answer.Payload, &registered))
	assert.Equal(t, map[string]any{
		"thingName":           "SN-1",
		"deviceConfiguration": map[any]any{"Interval": "60"},
	}, registered)
}

func TestCBORRequests(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	const topic = "$aws/provisioning-templates/test-template/provision/cbor"
	c := connectClaim(t, server)
	c.subscribe(createTopic+"/accepted", topic+"/accepted", topic+"/rejected")
	token := c.createKeys().CertificateOwnershipToken
	require.Len(t, token, 52)

	const tokenKey = "\x78\x19certificateOwnershipToken"
	tokenValue := "\x78\x34" + token
	chunked := "\x7f\x78\x1a" + token[:26] + "\x78\x1a" + token[26:] + "\xff"
	const parametersKey = "\x6aparameters"
	for _, test := range []struct {
		name, payload string
		status        int // 0: accepted
	}{
		{"a map of known length", "\xa2" + tokenKey + tokenValue + parametersKey + "\xa1\x61a\x61b", 0},
		{"in another order", "\xa2" + parametersKey + "\xa1\x61a\x61b" + tokenKey + tokenValue, 0},
		{"of indefinite length", "\xbf" + tokenKey + chunked + parametersKey + "\xbf\x61a\x61b\xff\xff", 0},
		{"with another member", "\xa2" + tokenKey + tokenValue + "\x61x\x01", 0},
		{"cut short", "\xa2" + tokenKey + tokenValue, 400},
		{"with a byte left over", "\xa1" + tokenKey + tokenValue + "\x00", 400},
		{"with the token twice", "\xa2" + tokenKey + tokenValue + tokenKey + tokenValue, 400},
		{"a number for a parameter", "\xa2" + tokenKey + tokenValue + parametersKey + "\xa1\x61a\x01", 400},
		{"null for a parameter", "\xa2" + tokenKey + tokenValue + parametersKey + "\xa1\x61a\xf6", 400},
		{"bytes for a token", "\xa1" + tokenKey + "\x41a", 400},
		{"a list", "\x80", 400},
		{"null", "\xf6", 400},
		{"nothing", "", 400},
		{"JSON", `{"certificateOwnershipToken":"` + token + `"}`, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := c.request(topic, test.payload)
			if test.status == 0 {
				assert.Equal(t, topic+"/accepted", answer.TopicName)
				return
			}
			assert.Equal(t, topic+"/rejected", answer.TopicName)
			var got struct {
				StatusCode int `cbor:"statusCode"`
			}
			require.NoError(t, cbor.Unmarshal(answer.Payload, &got))
			assert.Equal(t, test.status, got.StatusCode)
		})
	}
}
