package fleetprov_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const awsARN = "arn:aws:iot:REGION:ACCOUNT_ID:"

// The topics of the AWS developer guide, "fleet-provision-api", for the
// template fleet-template.
var (
	awsRequestTopics = []string{
		"$aws/certificates/create/json",
		"$aws/certificates/create/cbor",
		"$aws/certificates/create-from-csr/json",
		"$aws/certificates/create-from-csr/cbor",
		"$aws/provisioning-templates/fleet-template/provision/json",
		"$aws/provisioning-templates/fleet-template/provision/cbor",
	}
	awsAnswerTopics = []string{
		"$aws/certificates/create/json/accepted",
		"$aws/certificates/create/json/rejected",
		"$aws/certificates/create/cbor/accepted",
		"$aws/certificates/create/cbor/rejected",
		"$aws/certificates/create-from-csr/json/accepted",
		"$aws/certificates/create-from-csr/json/rejected",
		"$aws/certificates/create-from-csr/cbor/accepted",
		"$aws/certificates/create-from-csr/cbor/rejected",
		"$aws/provisioning-templates/fleet-template/provision/json/accepted",
		"$aws/provisioning-templates/fleet-template/provision/json/rejected",
		"$aws/provisioning-templates/fleet-template/provision/cbor/accepted",
		"$aws/provisioning-templates/fleet-template/provision/cbor/rejected",
	}
)

func TestAWSClaimPolicyAllowsWhatTheClientDoes(t *testing.T) {
	policy := readAWSPolicy(t, "claim-policy.json")
	published, subscribed := make(map[string]bool), make(map[string]bool)
	for name, opts := range map[string][]fleetprov.Option{
		"a key from AWS, in JSON":        {},
		"a key from AWS, in CBOR":        {fleetprov.WithCBOR()},
		"a key from the device, in JSON": {fleetprov.WithGeneratedKey()},
		"a key from the device, in CBOR": {fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()},
	} {
		server := fleetprovtest.NewUnstartedServer()
		server.Template = "fleet-template"
		server.Start()
		defer server.Close()
		p, err := fleetprov.New(server.Endpoint(), "fleet-template", claimOf(t, server), opts...)
		require.NoError(t, err)
		_, err = p.Provision(t.Context(), map[string]string{"SerialNumber": "0001"})
		require.NoError(t, err, name)
		for _, request := range server.Requests() {
			assert.True(t, policy.allows("iot:Connect", awsARN+"client/"+request.ClientID), "client id %s", request.ClientID)
			for _, filter := range request.Filters {
				subscribed[filter] = true
			}
			if request.Topic != "" {
				published[request.Topic] = true
			}
		}
	}

	assert.ElementsMatch(t, awsRequestTopics, slices.Collect(maps.Keys(published)))
	assert.ElementsMatch(t, awsAnswerTopics, slices.Collect(maps.Keys(subscribed)))
	for _, topic := range awsRequestTopics {
		assert.True(t, policy.allows("iot:Publish", awsARN+"topic/"+topic), "publish to %s", topic)
	}
	for _, topic := range awsAnswerTopics {
		assert.True(t, policy.allows("iot:Subscribe", awsARN+"topicfilter/"+topic), "subscribe to %s", topic)
		assert.True(t, policy.allows("iot:Receive", awsARN+"topic/"+topic), "receive from %s", topic)
	}
}

func TestAWSClaimPolicyAllowsNothingElse(t *testing.T) {
	policy := readAWSPolicy(t, "claim-policy.json")
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
		for _, action := range []string{"iot:Publish", "iot:Receive", "iot:Subscribe", "iot:RetainPublish", "iot:GetThingShadow"} {
			assert.False(t, policy.allows(action, awsARN+resource), "%s on %s", action, resource)
		}
	}

	// What no step needs is a right too many.
	needed := map[string][]string{"iot:Connect": {"client/fleetprov-1"}}
	for _, topic := range awsRequestTopics {
		needed["iot:Publish"] = append(needed["iot:Publish"], "topic/"+topic)
	}
	for _, topic := range awsAnswerTopics {
		needed["iot:Subscribe"] = append(needed["iot:Subscribe"], "topicfilter/"+topic)
		needed["iot:Receive"] = append(needed["iot:Receive"], "topic/"+topic)
	}
	for _, statement := range policy.Statement {
		for _, action := range statement.Action {
			for _, pattern := range statement.Resource {
				assert.True(t, slices.ContainsFunc(needed[action], func(resource string) bool {
					return matchesAWSResource(pattern, awsARN+resource)
				}), "nothing needs %s on %s", action, pattern)
			}
		}
	}
}

func TestAWSDevicePolicyIsPinnedToTheThingName(t *testing.T) {
	policy := readAWSPolicy(t, "device-policy.json")
	assert.True(t, policy.allows("iot:Connect", awsARN+"client/${iot:Connection.Thing.ThingName}"))
	for _, statement := range policy.Statement {
		for _, resource := range statement.Resource {
			resource, found := strings.CutPrefix(resource, awsARN)
			assert.True(t, found)
			assert.Regexp(t, `^(client|(topic|topicfilter)/devices)/\$\{iot:Connection\.Thing\.ThingName\}(/|$)`, resource)
		}
	}
}

// A device renews with its own certificate, under its thing name.
func TestAWSDevicePoliciesAllowARenewal(t *testing.T) {
	const template = "fleet-rotation-template"
	device, rotation := readAWSPolicy(t, "device-policy.json"), readAWSPolicy(t, "rotation-policy.json")
	requests := strings.Split(strings.ReplaceAll(strings.Join(awsRequestTopics, " "), "fleet-template", template), " ")
	answers := strings.Split(strings.ReplaceAll(strings.Join(awsAnswerTopics, " "), "fleet-template", template), " ")

	published, subscribed := make(map[string]bool), make(map[string]bool)
	for name, opts := range map[string][]fleetprov.Option{
		"a key from AWS, in JSON":        {},
		"a key from AWS, in CBOR":        {fleetprov.WithCBOR()},
		"a key from the device, in JSON": {fleetprov.WithGeneratedKey()},
		"a key from the device, in CBOR": {fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, dial := newRotationServer(t)
				opts := append(opts, dial)
				p, err := fleetprov.New(server.Endpoint(), template, claimOf(t, server), opts...)
				require.NoError(t, err)
				store := newMemStore()
				credentials, err := p.Ensure(t.Context(), store, map[string]string{"SerialNumber": "0001"})
				require.NoError(t, err)
				seen := len(server.Requests())
				_, err = renewDevice(t.Context(), store, credentials, opts...)
				require.NoError(t, err)
				for _, request := range server.Requests()[seen:] {
					connects := strings.ReplaceAll(awsARN+"client/"+request.ClientID, "0001", "${iot:Connection.Thing.ThingName}")
					assert.True(t, device.allows("iot:Connect", connects), connects)
					for _, filter := range request.Filters {
						subscribed[filter] = true
					}
					if request.Topic != "" {
						published[request.Topic] = true
					}
				}
			})
		})
	}
	assert.ElementsMatch(t, requests, slices.Collect(maps.Keys(published)))
	assert.ElementsMatch(t, answers, slices.Collect(maps.Keys(subscribed)))

	needed := make(map[string][]string)
	for _, topic := range requests {
		needed["iot:Publish"] = append(needed["iot:Publish"], awsARN+"topic/"+topic)
	}
	for _, topic := range answers {
		needed["iot:Subscribe"] = append(needed["iot:Subscribe"], awsARN+"topicfilter/"+topic)
		needed["iot:Receive"] = append(needed["iot:Receive"], awsARN+"topic/"+topic)
	}
	for action, resources := range needed {
		for _, resource := range resources {
			assert.True(t, rotation.allows(action, resource), "%s on %s", action, resource)
			if strings.Contains(resource, template) {
				another := strings.ReplaceAll(resource, template, "another-template")
				assert.False(t, rotation.allows(action, another), "%s on %s", action, another)
			}
		}
	}
	for _, statement := range rotation.Statement {
		for _, action := range statement.Action {
			for _, pattern := range statement.Resource {
				assert.True(t, slices.ContainsFunc(needed[action], func(resource string) bool {
					return matchesAWSResource(pattern, resource)
				}), "nothing needs %s on %s", action, pattern)
			}
		}
	}
}

type awsPolicy struct {
	Version   string
	Statement []struct {
		Effect   string
		Action   awsStrings
		Resource awsStrings
	}
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

// readAWSPolicy reads a policy whose statements all allow.
func readAWSPolicy(t *testing.T, name string) *awsPolicy {
	t.Helper()
	policy := new(awsPolicy)
	readAWSDocument(t, name, policy)
	require.Equal(t, "2012-10-17", policy.Version)
	require.NotEmpty(t, policy.Statement)
	for _, statement := range policy.Statement {
		require.Equal(t, "Allow", statement.Effect)
	}
	return policy
}

func (p *awsPolicy) allows(action, resource string) bool {
	for _, statement := range p.Statement {
		matches := func(pattern string) bool { return matchesAWSResource(pattern, resource) }
		if slices.Contains(statement.Action, action) && slices.ContainsFunc(statement.Resource, matches) {
			return true
		}
	}
	return false
}

// matchesAWSResource takes the wildcards of a policy, which pass over the levels
// of a topic (AWS developer guide, "iot-policies").
func matchesAWSResource(pattern, resource string) bool {
	expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + expression + "$").MatchString(resource)
}
