package interop_test

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// awsFlows are the ways in which a device may be provisioned and renewed.
var awsFlows = map[string][]fleetprov.Option{
	"a key from AWS, in JSON":        {},
	"a key from AWS, in CBOR":        {fleetprov.WithCBOR()},
	"a key from the device, in JSON": {fleetprov.WithGeneratedKey()},
	"a key from the device, in CBOR": {fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()},
}

// awsPolicies are the policy documents, by the name of their files.
type awsPolicies map[string]awsPolicy

type awsPolicy struct {
	Version   string
	Statement []awsStatement
}

type awsStatement struct {
	Effect    string
	Action    awsStrings
	Resource  awsStrings
	Condition json.RawMessage `json:",omitempty"`
}

// awsStrings is a string or a list of them.
type awsStrings []string

func (o *awsStrings) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = awsStrings{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

func readAWSPolicies(t *testing.T) awsPolicies {
	t.Helper()
	policies := awsPolicies{}
	for _, name := range []string{"claim-policy.json", "device-policy.json", "rotation-policy.json"} {
		var policy awsPolicy
		readAWSDocument(t, name, &policy)
		policies[name] = policy
	}
	return policies
}

func (p awsPolicies) text(t *testing.T, name string) string {
	t.Helper()
	document, err := json.Marshal(p[name])
	require.NoError(t, err)
	return string(document)
}

// awsAccount starts an endpoint inside a bubble with the templates of examples/aws
// and these policies.
func (p awsPolicies) awsAccount(t *testing.T) (*fleetprovtest.Server, fleetprov.Option) {
	t.Helper()
	server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) {
		server.ClaimPolicy = p.text(t, "claim-policy.json")
		server.Hook = rotationHook(server)
		for name, document := range map[string]string{"fleet-device-policy": "device-policy.json", "fleet-rotation-policy": "rotation-policy.json"} {
			require.NoError(t, server.AddPolicy(name, p.text(t, document)))
		}
		for name, document := range map[string]string{"fleet-template": "provisioning-template.json", "fleet-rotation-template": "rotation-template.json"} {
			var body json.RawMessage
			readAWSDocument(t, document, &body)
			require.NoError(t, server.AddTemplate(name, string(body)))
		}
	})
	return server, fleetprov.WithDialer(listener.Dial)
}

// rotationHook is rotation_hook.py, attached to the template it is for. The certificate
// that the device has connected with has to be one of the thing.
func rotationHook(server *fleetprovtest.Server) func(fleetprovtest.HookRequest) fleetprovtest.HookResponse {
	return func(request fleetprovtest.HookRequest) (response fleetprovtest.HookResponse) {
		response.AllowProvisioning = path.Base(request.TemplateARN) != "fleet-rotation-template"
		for _, thing := range server.Things() {
			if thing.Name == request.Parameters["ThingName"] && slices.Contains(thing.CertificateIDs, request.ClaimCertificateID) {
				response.AllowProvisioning = true
			}
		}
		return response
	}
}

// provisionAndRenew is what a device does with the account.
func (p awsPolicies) provisionAndRenew(t *testing.T, opts ...fleetprov.Option) (server *fleetprovtest.Server, err error) {
	t.Helper()
	server, dial := p.awsAccount(t)
	opts = append(opts, dial, provtest.OneAttempt, fleetprov.WithVerification())
	provisioner, err := fleetprov.New(server.Endpoint(), "fleet-template", provtest.Claim(t, server), opts...)
	require.NoError(t, err)
	store := provtest.NewMemStore()
	credentials, err := provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "0001"})
	if err != nil {
		return server, err
	}
	assert.Equal(t, map[string]string{"telemetryIntervalSeconds": "60"}, credentials.DeviceConfiguration)
	_, err = provtest.RenewDevice(t.Context(), store, credentials, opts...)
	return server, err
}

func TestAWSDocumentsProvisionAndRenewADevice(t *testing.T) {
	for name, opts := range awsFlows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, err := readAWSPolicies(t).provisionAndRenew(t, opts...)
				require.NoError(t, err)
				certificates := server.Certificates()
				require.Len(t, certificates, 2)
				for _, c := range certificates {
					assert.Equal(t, "ACTIVE", c.Status)
					assert.Equal(t, "device-0001", c.ThingName)
				}
				things := server.Things()
				require.Len(t, things, 1)
				assert.Equal(t, map[string]string{"serialNumber": "0001"}, things[0].Attributes)
				assert.Len(t, things[0].CertificateIDs, 2)
			})
		})
	}
}

// What no step needs is a right too many: without any one of them, a device of one
// flow or another is not provisioned, or not renewed.
func TestAWSPoliciesAllowNothingThatIsNotNeeded(t *testing.T) {
	for _, name := range []string{"claim-policy.json", "rotation-policy.json"} {
		for i, statement := range readAWSPolicies(t)[name].Statement {
			for _, action := range statement.Action {
				for _, resource := range statement.Resource {
					t.Run(fmt.Sprint(name, " ", action, " ", resource), func(t *testing.T) {
						works := 0
						for _, opts := range awsFlows {
							synctest.Test(t, func(t *testing.T) {
								policies := readAWSPolicies(t)
								policies[name] = policies[name].without(i, action, resource)
								if _, err := policies.provisionAndRenew(t, opts...); err == nil {
									works++
								}
							})
						}
						assert.Less(t, works, len(awsFlows))
					})
				}
			}
		}
	}
}

// without splits a statement in one for each action and resource, and leaves one of
// them out.
func (p awsPolicy) without(statement int, action, resource string) awsPolicy {
	left := awsPolicy{Version: p.Version}
	for i, s := range p.Statement {
		if i != statement {
			left.Statement = append(left.Statement, s)
			continue
		}
		for _, a := range s.Action {
			for _, r := range s.Resource {
				if a != action || r != resource {
					left.Statement = append(left.Statement, awsStatement{s.Effect, awsStrings{a}, awsStrings{r}, s.Condition})
				}
			}
		}
	}
	return left
}

func TestAWSClaimPolicyAllowsNothingElse(t *testing.T) {
	policy := parseAWSPolicy(t, "claim-policy.json")
	for _, resource := range []string{
		"topic/$aws/certificates/create",
		"topic/$aws/certificates/revoke/json",
		"topic/$aws/provisioning-templates/another-template/provision/json",
		"topic/$aws/provisioning-templates/fleet-template",
		"topic/$aws/things/device-0001/shadow/update",
		"topic/$aws/things/device-0001/jobs/start-next",
		"topic/devices/device-0001/telemetry",
		"topicfilter/$aws/certificates/create",
		"topicfilter/$aws/certificates/#",
		"topicfilter/$aws/provisioning-templates/+/provision/json/accepted",
		"topicfilter/$aws/things/device-0001/shadow/update/delta",
		"topicfilter/devices/device-0001/#",
		"topicfilter/#",
		"thing/device-0001",
	} {
		for _, action := range []iotpolicy.Action{"iot:Publish", "iot:Receive", "iot:Subscribe", "iot:RetainPublish", "iot:GetThingShadow"} {
			assert.False(t, iotpolicy.Allowed(policy, iotpolicy.Request{Action: action, Resource: resource}), "%s on %s", action, resource)
		}
	}
}

func TestAWSDevicePolicyIsPinnedToTheThingName(t *testing.T) {
	policy := parseAWSPolicy(t, "device-policy.json")
	for _, test := range []struct {
		action   iotpolicy.Action
		resource string
	}{
		{"iot:Connect", "client/%s"},
		{"iot:Publish", "topic/devices/%s/telemetry"},
		{"iot:Receive", "topic/devices/%s/commands"},
		{"iot:Subscribe", "topicfilter/devices/%s/#"},
	} {
		allowed := func(thing string, attached bool) bool {
			return iotpolicy.Allowed(policy, iotpolicy.Request{
				Action:   test.action,
				Resource: fmt.Sprintf(test.resource, thing),
				Variables: map[string]string{
					"iot:Connection.Thing.ThingName":  "device-0001",
					"iot:Connection.Thing.IsAttached": fmt.Sprint(attached),
				},
			})
		}
		assert.True(t, allowed("device-0001", true), test.action)
		assert.False(t, allowed("device-0002", true), test.action)
		assert.False(t, allowed("device-00010", true), test.action)
		if test.action == iotpolicy.Connect {
			assert.False(t, allowed("device-0001", false), "of a thing that is another's")
		}
	}
}

func parseAWSPolicy(t *testing.T, name string) []*iotpolicy.Document {
	t.Helper()
	var document json.RawMessage
	readAWSDocument(t, name, &document)
	policy, err := iotpolicy.Parse(document)
	require.NoError(t, err)
	return []*iotpolicy.Document{policy}
}
