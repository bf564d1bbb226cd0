package fleetprovtest_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const (
	csrTopicCBOR      = "$aws/certificates/create-from-csr/cbor"
	registerTopicCBOR = "$aws/provisioning-templates/test-template/provision/cbor"
)

// A whole exchange in CBOR, on the topics that AWS's page names.
func TestExchangeInCBOR(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.DeviceConfiguration = map[string]string{"Interval": "60"}
	server.Start()
	defer closeServer(t, server)
	c := connectClaim(t, server)
	c.subscribe(
		"$aws/certificates/create/cbor/accepted",
		"$aws/certificates/create/cbor/rejected",
		"$aws/provisioning-templates/test-template/provision/cbor/accepted",
		"$aws/provisioning-templates/test-template/provision/cbor/rejected",
	)

	for _, payload := range []string{"", "\xa0", "\xbf\xff"} {
		answer := c.request("$aws/certificates/create/cbor", payload)
		require.Equal(t, "$aws/certificates/create/cbor/accepted", answer.TopicName)
		var keys map[string]string
		require.NoError(t, cbor.Unmarshal(answer.Payload, &keys))
		_, err := tls.X509KeyPair([]byte(keys["certificatePem"]), []byte(keys["privateKey"]))
		require.NoError(t, err)
		assert.Len(t, keys["certificateId"], 64)
		assert.Len(t, keys, 4)

		request := "\xa2\x78\x19certificateOwnershipToken\x79\x01\xd0" + keys["certificateOwnershipToken"] +
			"\x6aparameters\xa1\x6cSerialNumber\x64SN-1"
		answer = c.request("$aws/provisioning-templates/test-template/provision/cbor", request)
		require.Equal(t, "$aws/provisioning-templates/test-template/provision/cbor/accepted", answer.TopicName)
		assert.Equal(t, "\xa2\x69thingName\x64SN-1\x73deviceConfiguration\xa1\x68Interval\x6260", string(answer.Payload))
	}
}

// The bytes are those that CBOR libraries of other languages produce.
func TestRequestsInCBOR(t *testing.T) {
	const (
		format     = "fleet-provision-api: a request to a topic that ends with cbor is in CBOR (RFC 8949)"
		tokenKey   = "\x78\x19certificateOwnershipToken"
		parameters = "\x6aparameters"
		serial     = "\x6cSerialNumber\x64SN-1"
	)
	// ask sends RegisterThing with a payload made from a token of 464 characters.
	ask := func(d *desk, payload func(token string) string) *packets.PublishPacket {
		d.Helper()
		c := d.claim("device-1")
		issued, _ := c.createFromCSR()
		require.Len(d, issued.CertificateOwnershipToken, 464)
		c.subscribe(registerTopicCBOR+"/accepted", registerTopicCBOR+"/rejected")
		return c.request(registerTopicCBOR, payload(issued.CertificateOwnershipToken))
	}
	accepted := func(name, fact string, payload func(token string) string) behaviour {
		return behaviour{name: name, fact: fact, steps: func(d *desk) {
			answer := ask(d, payload)
			require.Equal(d, registerTopicCBOR+"/accepted", answer.TopicName, "%q", answer.Payload)
			assert.Equal(d, "\xa1\x69thingName\x64SN-1", string(answer.Payload))
		}}
	}
	rejected := func(name string, payload func(token string) string) behaviour {
		return behaviour{name: name, fact: format, steps: func(d *desk) {
			answer := ask(d, payload)
			require.Equal(d, registerTopicCBOR+"/rejected", answer.TopicName)
			assert.Contains(d, string(answer.Payload), "\xa3\x6astatusCode\x19\x01\x90\x69errorCode")
			assert.Empty(d, d.server.Things())
		}}
	}
	always := func(payload string) func(string) string { return func(string) string { return payload } }
	walk(t, []behaviour{
		accepted("TinyCBOR, as in AWS's SDK for Embedded C: definite lengths, the order of the program", format, func(token string) string {
			return "\xa2" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xa1" + serial
		}),
		accepted("TinyCBOR with CborIndefiniteLength: a map that ends with a break", "RFC 8949 section 3.2.2: a map may end with a break", func(token string) string {
			return "\xbf" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xbf" + serial + "\xff\xff"
		}),
		accepted("zcbor without ZCBOR_CANONICAL: an outer map that ends with a break, an inner one with a length", "RFC 8949 section 3.2.2: a map may end with a break", func(token string) string {
			return "\xbf" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xa1" + serial + "\xff"
		}),
		accepted("minicbor for Rust with begin_map inside of map: the other way round", "RFC 8949 section 3.2.2: a map may end with a break", func(token string) string {
			return "\xa2" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xbf" + serial + "\xff"
		}),
		accepted("cbor2 for Python with canonical=True: shorter keys first", "RFC 8949 section 4.2.3: length-first order of keys", func(token string) string {
			return "\xa2" + parameters + "\xa1" + serial + tokenKey + "\x79\x01\xd0" + token
		}),
		accepted("a streaming encoder: strings in chunks, one of them empty", "RFC 8949 section 3.2.3: a string may come in chunks", func(token string) string {
			return "\xbf\x7f\x6bcertificate\x6eOwnershipToken\xff\x7f\x78\xe8" + token[:232] + "\x60\x78\xe8" + token[232:] + "\xff" +
				parameters + "\xbf\x6cSerialNumber\x7f\x64SN-1\xff\xff\xff"
		}),
		accepted("an encoder of fixed width: lengths in more bytes than they need", "RFC 8949 section 4.1: the shortest form is preferred, not required", func(token string) string {
			return "\xb8\x02" + "\x79\x00\x19certificateOwnershipToken" + "\x7a\x00\x00\x01\xd0" + token +
				"\x7b\x00\x00\x00\x00\x00\x00\x00\x0aparameters" + "\xb9\x00\x01" + "\x78\x0cSerialNumber\x78\x04SN-1"
		}),
		accepted("an encoder that marks its output as CBOR", "RFC 8949 section 3.4.6: tag 55799 means that what follows is CBOR", func(token string) string {
			return "\xd9\xd9\xf7\xa2" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xa1" + serial
		}),
		accepted("another member is ignored", format, func(token string) string {
			return "\xa3\x61x\x01" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xa1" + serial
		}),
		rejected("cut short", func(token string) string { return "\xa2" + tokenKey + "\x79\x01\xd0" + token }),
		rejected("a map without its break", func(token string) string { return "\xbf" + tokenKey + "\x79\x01\xd0" + token }),
		rejected("a byte left over", func(token string) string { return "\xa1" + tokenKey + "\x79\x01\xd0" + token + "\x00" }),
		rejected("the token twice", func(token string) string {
			return "\xa2" + tokenKey + "\x79\x01\xd0" + token + tokenKey + "\x79\x01\xd0" + token
		}),
		rejected("a number for a parameter", func(token string) string {
			return "\xa2" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xa1\x61a\x01"
		}),
		rejected("null for a parameter", func(token string) string {
			return "\xa2" + tokenKey + "\x79\x01\xd0" + token + parameters + "\xa1\x61a\xf6"
		}),
		rejected("bytes for a token", func(token string) string { return "\xa1" + tokenKey + "\x59\x01\xd0" + token }),
		rejected("JSON", func(token string) string { return `{"certificateOwnershipToken":"` + token + `"}` }),
		rejected("a list", always("\x80")),
		rejected("null", always("\xf6")),
		rejected("nothing", always("")),
		{
			name: "CreateCertificateFromCsr, as AWS's SDK for Embedded C asks for it",
			fact: format,
			steps: func(d *desk) {
				request := csr(d.T, ecKey(d.T, elliptic.P256()), nil)
				require.Greater(d, len(request), 0xff)
				c := d.claim("device-1")
				c.subscribe(csrTopicCBOR+"/accepted", csrTopicCBOR+"/rejected")
				answer := c.request(csrTopicCBOR,
					"\xa1\x78\x19certificateSigningRequest\x79"+string([]byte{byte(len(request) >> 8), byte(len(request))})+request)
				require.Equal(d, csrTopicCBOR+"/accepted", answer.TopicName)
				var issued map[string]string
				require.NoError(d, cbor.Unmarshal(answer.Payload, &issued))
				assert.Len(d, issued, 3)
			},
		},
		{
			name: "a rejection is a map of definite length with a number and two texts",
			fact: "fleet-provision-api: an error response has statusCode, errorCode and errorMessage",
			steps: func(d *desk) {
				d.server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{
					Reject: &fleetprovtest.Rejection{StatusCode: 429, Code: "Throttled", Message: "Slow down."},
				})
				c := d.claim("device-1")
				c.subscribe(csrTopicCBOR + "/rejected")
				assert.Equal(d, "\xa3\x6astatusCode\x19\x01\xad\x69errorCode\x69Throttled\x6cerrorMessage\x6aSlow down.",
					string(c.request(csrTopicCBOR, "").Payload))
			},
		},
	})
}
