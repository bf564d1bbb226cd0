package iotpolicy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

func readExample(t *testing.T, name string) *iotpolicy.Document {
	t.Helper()
	document, err := os.ReadFile(filepath.Join("..", "..", "examples", "aws", name))
	require.NoError(t, err)
	return parse(t, string(document))
}

// The documents that a user attaches in AWS are evaluated as they are.
func TestExamplePolicies(t *testing.T) {
	claim := []*iotpolicy.Document{readExample(t, "claim-policy.json")}
	device := []*iotpolicy.Document{readExample(t, "device-policy.json")}
	rotating := []*iotpolicy.Document{device[0], readExample(t, "rotation-policy.json")}

	unprovisioned := map[string]string{"iot:ClientId": "1234", "iot:Connection.Thing.IsAttached": "false"}
	provisioned := map[string]string{
		"iot:ClientId":                    "device-1234",
		"iot:Connection.Thing.ThingName":  "device-1234",
		"iot:Connection.Thing.IsAttached": "true",
	}
	for _, test := range []struct {
		name      string
		documents []*iotpolicy.Document
		variables map[string]string
		action    iotpolicy.Action
		resource  string
		want      bool
	}{
		{"a claim connects with a client id of the library", claim, unprovisioned, iotpolicy.Connect, "client/fleetprov-1234", true},
		{"a claim may not connect with a client id of a device", claim, unprovisioned, iotpolicy.Connect, "client/device-1234", false},
		{"a claim creates keys", claim, unprovisioned, iotpolicy.Publish, "topic/$aws/certificates/create/json", true},
		{"a claim creates a certificate from a CSR", claim, unprovisioned, iotpolicy.Publish, "topic/$aws/certificates/create-from-csr/cbor", true},
		{"a claim registers a thing", claim, unprovisioned, iotpolicy.Publish, "topic/$aws/provisioning-templates/fleet-template/provision/json", true},
		{"a claim registers with no other template", claim, unprovisioned, iotpolicy.Publish, "topic/$aws/provisioning-templates/fleet-rotation-template/provision/json", false},
		{"a claim asks for the answers", claim, unprovisioned, iotpolicy.Subscribe, "topicfilter/$aws/certificates/create/json/accepted", true},
		{"a claim receives the answers", claim, unprovisioned, iotpolicy.Receive, "topic/$aws/certificates/create/json/rejected", true},
		{"a claim may not subscribe to all topics", claim, unprovisioned, iotpolicy.Subscribe, "topicfilter/#", false},
		{"a claim may not publish as a device", claim, unprovisioned, iotpolicy.Publish, "topic/devices/device-1234/telemetry", false},

		{"a device connects by its thing name", device, provisioned, iotpolicy.Connect, "client/device-1234", true},
		{"a device may not connect by another name", device, provisioned, iotpolicy.Connect, "client/device-5678", false},
		{"a device publishes to its topics", device, provisioned, iotpolicy.Publish, "topic/devices/device-1234/telemetry", true},
		{"a device may not publish to another device's topics", device, provisioned, iotpolicy.Publish, "topic/devices/device-5678/telemetry", false},
		{"a device subscribes to its topics", device, provisioned, iotpolicy.Subscribe, "topicfilter/devices/device-1234/#", true},
		{"a device may not subscribe to other devices' topics", device, provisioned, iotpolicy.Subscribe, "topicfilter/devices/+/#", false},
		{"a device receives from its topics", device, provisioned, iotpolicy.Receive, "topic/devices/device-1234/commands", true},
		{"a device may not provision", device, provisioned, iotpolicy.Publish, "topic/$aws/certificates/create/json", false},
		{"a certificate of no thing may not connect", device, unprovisioned, iotpolicy.Connect, "client/1234", false},
		{"a certificate of no thing may not publish", device, unprovisioned, iotpolicy.Publish, "topic/devices/1234/telemetry", false},

		{"a device rotates its certificate", rotating, provisioned, iotpolicy.Publish, "topic/$aws/provisioning-templates/fleet-rotation-template/provision/json", true},
		{"a rotating device connects by its thing name", rotating, provisioned, iotpolicy.Connect, "client/device-1234", true},
		{"a rotating device may not take the claim's template", rotating, provisioned, iotpolicy.Publish, "topic/$aws/provisioning-templates/fleet-template/provision/json", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, iotpolicy.Allowed(test.documents, iotpolicy.Request{
				Action:    test.action,
				Resource:  test.resource,
				Variables: test.variables,
			}))
		})
	}
}

// Every policy file among the examples must parse, except for those of roles: they are
// IAM's, and have principals or other actions.
func TestEveryExamplePolicyParses(t *testing.T) {
	paths, err := filepath.Glob("../../examples/aws/*-policy.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		document, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = iotpolicy.Parse(document)
		if strings.Contains(path, "-role-") {
			assert.Error(t, err, path)
		} else {
			assert.NoError(t, err, path)
		}
	}
}

// The documents are copied from the AWS IoT developer guide.
func TestAWSExamples(t *testing.T) {
	registered := map[string]string{
		"iot:ClientId":                                   "thing1",
		"iot:Connection.Thing.ThingName":                 "thing1",
		"iot:Connection.Thing.ThingTypeName":             "Thing_Type_Name",
		"iot:Connection.Thing.IsAttached":                "true",
		"iot:Connection.Thing.Attributes[attributeName]": "attributeValue",
		"iot:CertificateId":                              "0123abcd",
	}
	unregistered := map[string]string{
		"iot:ClientId":                    "client1",
		"iot:Connection.Thing.IsAttached": "false",
		"iot:CertificateId":               "0123abcd",
	}
	type requests map[string]bool // resources by whether they are allowed
	for _, test := range []struct {
		name, document string
		variables      map[string]string
		want           map[iotpolicy.Action]requests
	}{
		{
			name: "pub-sub-policy: rooms of a registered device",
			document: `{"Version": "2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": ["arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}"]},
				{"Effect": "Allow", "Action": ["iot:Subscribe"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topicfilter/${iot:Connection.Thing.ThingName}/room*"]},
				{"Effect": "Allow", "Action": ["iot:Receive"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/${iot:Connection.Thing.ThingName}/room*"]}
			]}`,
			variables: registered,
			want: map[iotpolicy.Action]requests{
				iotpolicy.Connect:   {"client/thing1": true, "client/thing2": false},
				iotpolicy.Subscribe: {"topicfilter/thing1/room1": true, "topicfilter/thing1/hall": false},
				iotpolicy.Receive:   {"topic/thing1/room2": true, "topic/thing2/room2": false},
				iotpolicy.Publish:   {"topic/thing1/room1": false},
			},
		},
		{
			name: "pub-sub-policy: all topics of an unregistered device but one",
			document: `{"Version": "2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": [
					"arn:aws:iot:us-east-1:123456789012:client/client1",
					"arn:aws:iot:us-east-1:123456789012:client/client2",
					"arn:aws:iot:us-east-1:123456789012:client/client3"]},
				{"Effect": "Allow", "Action": ["iot:Publish"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/*"]},
				{"Effect": "Deny", "Action": ["iot:Publish"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/bar"]}
			]}`,
			variables: unregistered,
			want: map[iotpolicy.Action]requests{
				iotpolicy.Connect: {"client/client1": true, "client/client4": false},
				iotpolicy.Publish: {"topic/client1/foo": true, "topic/client1/bar": false, "topic/client2/foo": false},
			},
		},
		{
			name: "certificate-policy-examples: the certificate's own topic",
			document: `{"Version":"2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Publish"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/${iot:CertificateId}"]},
				{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": ["arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}"]}
			]}`,
			variables: unregistered,
			want: map[iotpolicy.Action]requests{
				iotpolicy.Connect: {"client/client1": false},
				iotpolicy.Publish: {"topic/0123abcd": true, "topic/4567cdef": false},
			},
		},
		{
			name: "thing-policy-examples: a thing of that type with that attribute",
			document: `{"Version":"2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Publish"], "Resource": "arn:aws:iot:us-east-1:123456789012:topic/device/stats",
				 "Condition": {
					"StringEquals": {"iot:Connection.Thing.Attributes[attributeName]": "attributeValue", "iot:Connection.Thing.ThingTypeName": "Thing_Type_Name"},
					"Bool": {"iot:Connection.Thing.IsAttached": "true"}}}
			]}`,
			variables: registered,
			want:      map[iotpolicy.Action]requests{iotpolicy.Publish: {"topic/device/stats": true, "topic/device": false}},
		},
		{
			name: "thing-policy-examples: only while attached to a thing",
			document: `{"Version":"2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": ["*"], "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}}
			]}`,
			variables: unregistered,
			want:      map[iotpolicy.Action]requests{iotpolicy.Connect: {"client/client1": false}},
		},
		{
			name: "retained-message-policy-examples: a retained message",
			document: `{"Version":"2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": ["arn:aws:iot:us-east-1:123456789012:client/device1"]},
				{"Effect": "Allow", "Action": ["iot:Publish", "iot:RetainPublish"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/device/sample/configuration"]}
			]}`,
			variables: unregistered,
			want: map[iotpolicy.Action]requests{
				iotpolicy.Publish:       {"topic/device/sample/configuration": true, "topic/device/sample": false},
				iotpolicy.RetainPublish: {"topic/device/sample/configuration": true, "topic/device/sample": false},
			},
		},
		{
			name: "retained-message-policy-examples: a retained will, and no other retained message",
			document: `{"Version":"2012-10-17", "Statement": [
				{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": ["arn:aws:iot:us-east-1:123456789012:client/device1"],
				 "Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}},
				{"Effect": "Allow", "Action": ["iot:Publish", "iot:RetainPublish"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/will"]}
			]}`,
			variables: unregistered,
			want: map[iotpolicy.Action]requests{
				iotpolicy.Connect:       {"client/device1": true, "client/device2": false},
				iotpolicy.RetainPublish: {"topic/will": true, "topic/a": false},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			documents := []*iotpolicy.Document{parse(t, test.document)}
			for action, resources := range test.want {
				for resource, want := range resources {
					assert.Equal(t, want, iotpolicy.Allowed(documents, iotpolicy.Request{
						Action:    action,
						Resource:  resource,
						Variables: test.variables,
					}), "%s of %s", action, resource)
				}
			}
		})
	}
}
