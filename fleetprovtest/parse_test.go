package fleetprovtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequestTopics(t *testing.T) {
	for topic, want := range map[string]operation{
		"$aws/certificates/create/json":                            {op: OpCreateKeysAndCertificate, format: formatJSON},
		"$aws/certificates/create/cbor":                            {op: OpCreateKeysAndCertificate, format: formatCBOR},
		"$aws/certificates/create-from-csr/json":                   {op: OpCreateCertificateFromCSR, format: formatJSON},
		"$aws/certificates/create-from-csr/cbor":                   {op: OpCreateCertificateFromCSR, format: formatCBOR},
		"$aws/provisioning-templates/a_B-9/provision/json":         {op: OpRegisterThing, format: formatJSON, template: "a_B-9"},
		"$aws/provisioning-templates/test-template/provision/cbor": {op: OpRegisterThing, format: formatCBOR, template: "test-template"},
		"$aws/certificates/create/json/accepted":                   {},
		"$aws/certificates/create/xml":                             {},
		"$aws/certificates/create/json/":                           {},
		"$aws/certificates/create":                                 {},
		"aws/certificates/create/json":                             {},
		"$aws/provisioning-templates/a/b/provision/json":           {},
		"$aws/provisioning-templates/a b/provision/json":           {},
		"$aws/provisioning-templates//provision/json":              {},
		"$aws/provisioning-templates/provision/json":               {},
		"$aws/provisioning-templates/a\n/provision/json":           {},
		"$aws/provisioning-templates/" + long + "/provision/json":  {op: OpRegisterThing, format: formatJSON, template: long},
		"$aws/provisioning-templates/" + long + "a/provision/json": {},
		"json":                      {},
		"":                          {},
		"$aws/certificates/create/": {},
	} {
		got, ok := parseRequestTopic(topic)
		assert.Equal(t, want.op != "", ok, topic)
		if ok {
			want.topic = topic
		}
		assert.Equal(t, want, got, topic)
	}
}

// long is the longest name a template may have.
var long = strings.Repeat("a", 36)

func FuzzParseRequestTopic(f *testing.F) {
	f.Add("$aws/certificates/create/json")
	f.Add("$aws/provisioning-templates/test-template/provision/cbor")
	f.Fuzz(func(t *testing.T, topic string) {
		o, ok := parseRequestTopic(topic)
		if !ok {
			require.Zero(t, o)
			return
		}
		require.Equal(t, topic, o.topic)
		require.True(t, mayBePublished(topic))
		require.False(t, mayBePublished(topic+"/accepted"))
	})
}

func FuzzParsePayload(f *testing.F) {
	f.Add([]byte(`{"certificateOwnershipToken":"a","parameters":{"SerialNumber":"1"}}`))
	f.Add([]byte(`{"parameters":{"SerialNumber":1}}`))
	f.Add([]byte("\xa1\x6aparameters\xa1\x61a\x61b"))
	f.Add([]byte("\xbf\x6aparameters\xbf\xff\xff"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, format := range []format{formatJSON, formatCBOR} {
			members, err := format.parse(payload)
			if err != nil {
				require.Nil(t, members)
				continue
			}
			require.NotNil(t, members)
			if token, err := format.optionalString(members, "certificateOwnershipToken"); err != nil {
				require.Empty(t, token)
			}
			parameters, err := format.optionalStrings(members, "parameters")
			require.Equal(t, err != nil, parameters == nil)
		}
	})
}
