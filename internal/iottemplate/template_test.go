package iottemplate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

const certificateID = "b5a7a9a2f2a1c1b0"

// fleetTemplate has the form of the fleet provisioning example of
// provision-template: it refers to the certificate's ID without declaring it,
// says Active for ACTIVE, and writes the policy document as an object.
const fleetTemplate = `{
	"Parameters": {
		"SerialNumber": {"Type": "String"},
		"DeviceLocation": {"Type": "String", "Default": "Lyon"}
	},
	"Mappings": {
		"LocationTable": {
			"Lyon": {"LocationUrl": "https://lyon.example.com"},
			"Oslo": {"LocationUrl": "https://oslo.example.com"}
		}
	},
	"Resources": {
		"thing": {
			"Type": "AWS::IoT::Thing",
			"Properties": {
				"AttributePayload": {"version": "v1", "serialNumber": {"Ref": "SerialNumber"}},
				"ThingName": {"Ref": "SerialNumber"},
				"ThingTypeName": {"Fn::Join": ["", ["pump_", {"Ref": "DeviceLocation"}]]},
				"ThingGroups": ["pumps", {"Ref": "DeviceLocation"}],
				"BillingGroup": "pump-billing"
			},
			"OverrideSettings": {
				"AttributePayload": "MERGE",
				"ThingTypeName": "REPLACE",
				"ThingGroups": "DO_NOTHING"
			}
		},
		"certificate": {
			"Type": "AWS::IoT::Certificate",
			"Properties": {
				"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"},
				"Status": "Active"
			}
		},
		"policy": {
			"Type": "AWS::IoT::Policy",
			"Properties": {
				"PolicyDocument": {
					"Version": "2012-10-17",
					"Statement": [{
						"Effect": "Allow",
						"Action": ["iot:Publish"],
						"Resource": ["arn:aws:iot:eu-west-3:123456789012:topic/a&b/${iot:ClientId}"]
					}]
				}
			}
		}
	},
	"DeviceConfiguration": {
		"FallbackUrl": "https://www.example.com/test-site",
		"LocationUrl": {"Fn::FindInMap": ["LocationTable", {"Ref": "DeviceLocation"}, "LocationUrl"]}
	}
}`

func parse(t *testing.T, body string) *iottemplate.Template {
	t.Helper()
	template, err := iottemplate.Parse([]byte(body))
	require.NoError(t, err)
	return template
}

func evaluate(t *testing.T, body string, parameters map[string]string) *iottemplate.Registration {
	t.Helper()
	registration, err := parse(t, body).Evaluate(parameters)
	require.NoError(t, err)
	return registration
}

func example(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../examples/aws", name))
	require.NoError(t, err)
	return string(body)
}

func hash(document string) string {
	sum := sha256.Sum256([]byte(document))
	return hex.EncodeToString(sum[:])
}

func TestFleetTemplate(t *testing.T) {
	const document = `{"Statement":[{"Action":["iot:Publish"],"Effect":"Allow",` +
		`"Resource":["arn:aws:iot:eu-west-3:123456789012:topic/a&b/${iot:ClientId}"]}],"Version":"2012-10-17"}`

	got := evaluate(t, fleetTemplate, map[string]string{
		"SerialNumber":            "SN-1",
		"DeviceLocation":          "Oslo",
		iottemplate.CertificateID: certificateID,
	})
	assert.Equal(t, &iottemplate.Registration{
		Thing: &iottemplate.Thing{
			Name:         "SN-1",
			Attributes:   map[string]string{"version": "v1", "serialNumber": "SN-1"},
			Type:         "pump_Oslo",
			Groups:       []string{"pumps", "Oslo"},
			BillingGroup: "pump-billing",
			Override: iottemplate.ThingOverride{
				AttributePayload: iottemplate.Merge,
				ThingTypeName:    iottemplate.Replace,
				ThingGroups:      iottemplate.DoNothing,
			},
		},
		Certificate: &iottemplate.Certificate{Status: "ACTIVE"},
		Policies:    []iottemplate.Policy{{Name: hash(document), Document: document}},
		DeviceConfiguration: map[string]string{
			"FallbackUrl": "https://www.example.com/test-site",
			"LocationUrl": "https://oslo.example.com",
		},
	}, got)
}

func TestParameters(t *testing.T) {
	template := parse(t, fleetTemplate)
	for _, test := range []struct {
		name       string
		parameters map[string]string
		want       string // the thing type, or the error
	}{
		{"a parameter that is not sent has its default", map[string]string{"SerialNumber": "SN-1"}, "pump_Lyon"},
		{"a parameter that is sent overrides its default", map[string]string{"SerialNumber": "SN-1", "DeviceLocation": "Oslo"}, "pump_Oslo"},
		{"an empty value is a value", map[string]string{"SerialNumber": "SN-1", "DeviceLocation": ""},
			`Resources.thing.Properties.ThingGroups[1]: "" is not a thing group name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a parameter that is not declared is ignored", map[string]string{"SerialNumber": "SN-1", "Colour": "red"}, "pump_Lyon"},
		{"a parameter without a default must be sent", nil, "Parameters.SerialNumber: the parameter is missing and has no default"},
		{"a value has 4,096 characters at most", map[string]string{"SerialNumber": "SN-1", "Note": strings.Repeat("é", 4097)},
			`Parameters: the value of "Note" has more than 4096 characters`},
		{"a value of 4,096 characters is taken", map[string]string{"SerialNumber": "SN-1", "Note": strings.Repeat("é", 4096)}, "pump_Lyon"},
		{"a name has 2,048 characters at most", map[string]string{"SerialNumber": "SN-1", strings.Repeat("n", 2049): ""},
			`Parameters: the name "` + strings.Repeat("n", 64) + `"… has more than 2048 characters`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := template.Evaluate(test.parameters)
			if err != nil {
				assert.Nil(t, got)
				assert.EqualError(t, err, test.want)
				return
			}
			assert.Equal(t, test.want, got.Thing.Type)
		})
	}
}

// A certificate's ID that a template uses has no default.
func TestCertificateIDMustBeGiven(t *testing.T) {
	template := parse(t, `{
		"Resources": {"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "device"}}},
		"DeviceConfiguration": {"id": {"Ref": "AWS::IoT::Certificate::Id"}}
	}`)
	got, err := template.Evaluate(nil)
	assert.Nil(t, got)
	require.EqualError(t, err, `DeviceConfiguration.id.Ref: the parameter "AWS::IoT::Certificate::Id" is missing`)

	got, err = template.Evaluate(map[string]string{iottemplate.CertificateID: certificateID})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"id": certificateID}, got.DeviceConfiguration)
}

func TestTemplatesOfTheExamples(t *testing.T) {
	policies := []iottemplate.Policy{{Name: "fleet-device-policy"}, {Name: "fleet-rotation-policy"}}

	t.Run("provisioning", func(t *testing.T) {
		assert.Equal(t, &iottemplate.Registration{
			Thing:               &iottemplate.Thing{Name: "device-SN-1", Attributes: map[string]string{"serialNumber": "SN-1"}},
			Certificate:         &iottemplate.Certificate{Status: "ACTIVE"},
			Policies:            policies,
			DeviceConfiguration: map[string]string{"telemetryIntervalSeconds": "60"},
		}, evaluate(t, example(t, "provisioning-template.json"), map[string]string{
			"SerialNumber":            "SN-1",
			iottemplate.CertificateID: certificateID,
		}))
	})
	t.Run("rotation", func(t *testing.T) {
		assert.Equal(t, &iottemplate.Registration{
			Thing: &iottemplate.Thing{Name: "device-SN-1", Override: iottemplate.ThingOverride{
				AttributePayload: iottemplate.DoNothing,
				ThingTypeName:    iottemplate.DoNothing,
				ThingGroups:      iottemplate.DoNothing,
			}},
			Certificate: &iottemplate.Certificate{Status: "ACTIVE"},
			Policies:    policies,
		}, evaluate(t, example(t, "rotation-template.json"), map[string]string{
			"ThingName":               "device-SN-1",
			iottemplate.CertificateID: certificateID,
		}))
	})
}

// A template may do without a thing: the device then gets its certificate and
// its policies.
func TestOnlyWhatIsDeclaredIsRegistered(t *testing.T) {
	got := evaluate(t, `{"Resources": {
		"c": {
			"Type": "AWS::IoT::Certificate",
			"Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "inactive", "ThingPrincipalType": "EXCLUSIVE_THING"},
			"OverrideSettings": {"Status": "DO_NOTHING"}
		}
	}}`, nil)
	assert.Equal(t, &iottemplate.Registration{
		Certificate: &iottemplate.Certificate{
			Status:         "INACTIVE",
			ExclusiveThing: true,
			Override:       iottemplate.CertificateOverride{Status: iottemplate.DoNothing},
		},
	}, got)
}

func TestPolicies(t *testing.T) {
	for _, test := range []struct {
		name, properties string
		want             iottemplate.Policy
	}{
		{"a policy that exists", `{"PolicyName": "device"}`, iottemplate.Policy{Name: "device"}},
		{"a name made of parameters", `{"PolicyName": {"Fn::Sub": "device-${A}"}}`, iottemplate.Policy{Name: "device-a"}},
		{"a document as an escaped string is kept word for word", `{"PolicyDocument": "{ \"Version\": \"2012-10-17\" }"}`,
			iottemplate.Policy{Name: hash(`{ "Version": "2012-10-17" }`), Document: `{ "Version": "2012-10-17" }`}},
		{"a document made of parameters", `{"PolicyDocument": {"Fn::Join": ["", ["{\"Id\":\"", {"Ref": "A"}, "\"}"]]}}`,
			iottemplate.Policy{Name: hash(`{"Id":"a"}`), Document: `{"Id":"a"}`}},
		{"functions and every kind of value within a document",
			`{"PolicyDocument": {"Statement": [{"Resource": {"Fn::Sub": "client/${A}/${!iot:ClientId}"}, "n": 1.50, "b": true, "z": null}]}}`,
			iottemplate.Policy{
				Name:     hash(`{"Statement":[{"Resource":"client/a/${iot:ClientId}","b":true,"n":1.50,"z":null}]}`),
				Document: `{"Statement":[{"Resource":"client/a/${iot:ClientId}","b":true,"n":1.50,"z":null}]}`,
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := evaluate(t, `{
				"Parameters": {"A": {"Type": "String"}},
				"Resources": {"p": {"Type": "AWS::IoT::Policy", "Properties": `+test.properties+`}}
			}`, map[string]string{"A": "a"})
			assert.Equal(t, []iottemplate.Policy{test.want}, got.Policies)
		})
	}
}

func TestEvaluationsShareNothing(t *testing.T) {
	template := parse(t, fleetTemplate)
	parameters := map[string]string{"SerialNumber": "SN-1"}
	first, err := template.Evaluate(parameters)
	require.NoError(t, err)
	first.Thing.Attributes["version"] = "changed"
	first.Thing.Groups[0] = "changed"
	first.DeviceConfiguration["FallbackUrl"] = "changed"
	second, err := template.Evaluate(parameters)
	require.NoError(t, err)
	assert.Equal(t, "v1", second.Thing.Attributes["version"])
	assert.Equal(t, "pumps", second.Thing.Groups[0])
	assert.Equal(t, "https://www.example.com/test-site", second.DeviceConfiguration["FallbackUrl"])
}
