package fleetprovtest_test

import (
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// statement of a policy document. Resources are given without the part of the ARN that
// is the same for all.
func statement(effect, action string, resources ...string) string {
	arns := make([]string, len(resources))
	for i, resource := range resources {
		arns[i] = `"arn:aws:iot:us-east-1:123456789012:` + resource + `"`
	}
	return `{"Effect":"` + effect + `","Action":"` + action + `","Resource":[` + strings.Join(arns, ",") + `]}`
}

func allow(action string, resources ...string) string {
	return statement("Allow", action, resources...)
}

func deny(action string, resources ...string) string { return statement("Deny", action, resources...) }

func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func claimPolicy(statements ...string) func(*fleetprovtest.Server) {
	return func(s *fleetprovtest.Server) { s.ClaimPolicy = policy(statements...) }
}

func devicePolicy(statements ...string) func(*fleetprovtest.Server) {
	return func(s *fleetprovtest.Server) { s.DevicePolicy = policy(statements...) }
}

var (
	connects   = allow("iot:Connect", "*")
	publishes  = allow("iot:Publish", "*")
	subscribes = allow("iot:Subscribe", "*")
	receives   = allow("iot:Receive", "*")
)

func TestPolicyOfConnect(t *testing.T) {
	walk(t, []behaviour{
		{
			name:  "a client id that the policy allows connects and no other does",
			fact:  "iot-policy-actions: iot:Connect is checked for the client id; observed: one that it does not allow is closed without a CONNACK",
			setup: claimPolicy(allow("iot:Connect", "client/device-1")),
			steps: func(d *desk) {
				c := d.handshake(d.server.ClaimCertificate())
				c.sendConnect("device-1")
				c.reads("20 02 00 00")
				d.notAuthorized(d.server.ClaimCertificate(), "device-2")
				d.notAuthorized(d.server.ClaimCertificate(), "device-11")
				c.ping()
			},
		},
		{
			name:  "a refused client takes over nothing",
			fact:  "mqtt: a client that connects with a client id in use ends the older connection; one that is refused has not connected",
			setup: devicePolicy(deny("iot:Connect", "*")),
			steps: func(d *desk) {
				_, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				first := d.claim("device-1")
				d.notAuthorized(certificate, "device-1")
				first.ping()
			},
		},
		{
			name:  "a Deny outweighs an Allow",
			fact:  "iot-policies: an explicit deny overrides any allow",
			setup: claimPolicy(connects, deny("iot:Connect", "client/device-1")),
			steps: func(d *desk) {
				d.notAuthorized(d.server.ClaimCertificate(), "device-1")
				d.claim("device-2")
			},
		},
		{
			name:  "what no statement allows is denied",
			fact:  "iot-policies: without an allow the answer is deny",
			setup: claimPolicy(publishes, subscribes, receives),
			steps: func(d *desk) { d.notAuthorized(d.server.ClaimCertificate(), "device-1") },
		},
		{
			name:  "a * stands for any characters and a ? for one",
			fact:  "iot-action-resources, iot-policies: * and ? are the wildcards of a resource",
			setup: claimPolicy(allow("iot:Connect", "client/pump-*", "client/valve-?")),
			steps: func(d *desk) {
				d.claim("pump-")
				d.claim("pump-12")
				d.claim("valve-1")
				d.notAuthorized(d.server.ClaimCertificate(), "valve-12")
				d.notAuthorized(d.server.ClaimCertificate(), "valve-")
				d.notAuthorized(d.server.ClaimCertificate(), "a-pump-1")
			},
		},
		{
			name:  "a device connects with the name of its thing only",
			fact:  "thing-policy-variables: iot:Connection.Thing.ThingName is the thing that the client id names, and IsAttached is true, if the certificate is attached to it",
			setup: devicePolicy(`{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}","Condition":{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}}`),
			steps: func(d *desk) {
				_, first := d.enrol("test-template", `{"ThingName":"device-1"}`)
				_, second := d.enrol("test-template", `{"ThingName":"device-2"}`)
				d.connect(first, "device-1").ping()
				d.connect(second, "device-2").ping()
				d.notAuthorized(first, "device-2")
				d.notAuthorized(first, "device-3")
			},
		},
		{
			name:  "a device connects with the name of its thing only, even without the condition that it is attached",
			fact:  "thing-policy-examples: a variable of a thing that the certificate is not associated with is not resolved, and access is denied",
			setup: devicePolicy(allow("iot:Connect", "client/${iot:Connection.Thing.ThingName}")),
			steps: func(d *desk) {
				_, first := d.enrol("test-template", `{"ThingName":"device-1"}`)
				_, second := d.enrol("test-template", `{"ThingName":"device-2"}`)
				d.connect(first, "device-1").ping()
				d.connect(second, "device-2").ping()
				d.notAuthorized(first, "device-2")
				d.notAuthorized(first, "device-3")
			},
		},
	})
}

func TestPolicyOfPublish(t *testing.T) {
	walk(t, []behaviour{
		{
			name: "a denied publish closes the connection without a word",
			fact: "iot-policy-actions: iot:Publish is checked for each message; observed: the connection is closed, with no PUBACK",
			setup: claimPolicy(connects, allow("iot:Publish", "topic/data/*", "topic/sensor/?/state"),
				deny("iot:Publish", "topic/data/secret")),
			steps: func(d *desk) {
				c := d.claim("allowed")
				c.publish("data/1", "")
				c.publish("data/1/2", "")
				c.publish("sensor/1/state", "")
				for _, topic := range []string{"data", "data/secret", "sensor/12/state", "other", "Data/1"} {
					c := d.claim("device-1")
					c.sendPublish(2, topic, "")
					c.closedAfter(0)
				}
				c.ping()
			},
		},
		{
			name:  "${iot:ClientId} is the client id of the claim",
			fact:  "basic-policy-variables: iot:ClientId is the client id of the connection",
			setup: claimPolicy(connects, allow("iot:Publish", "topic/data/${iot:ClientId}/*")),
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.publish("data/device-1/state", "")
				c.sendPublish(2, "data/device-2/state", "")
				c.closedAfter(0)
			},
		},
		{
			name:  "a client id with a * in it is no wildcard",
			fact:  "iot-policy-variables: the value of a variable stands for itself; reference_policies_variables (IAM): wildcards in a value are literal",
			setup: claimPolicy(connects, allow("iot:Publish", "topic/data/${iot:ClientId}")),
			steps: func(d *desk) {
				c := d.claim("*")
				c.publish("data/*", "")
				c.sendPublish(2, "data/device-2", "")
				c.closedAfter(0)
			},
		},
		{
			name:  "a device publishes to the topics of its thing and no other's",
			fact:  "thing-policy-variables: iot:Connection.Thing.ThingName is the name of the thing",
			setup: devicePolicy(connects, allow("iot:Publish", "topic/devices/${iot:Connection.Thing.ThingName}/*")),
			steps: func(d *desk) {
				d.device("device-2")
				c := d.device("device-1")
				c.publish("devices/device-1/state", "")
				c.sendPublish(2, "devices/device-2/state", "")
				c.closedAfter(0)
			},
		},
		{
			name: "a device publishes to the topics of its thing's type and attributes and no other's",
			fact: "thing-policy-variables: iot:Connection.Thing.ThingTypeName and iot:Connection.Thing.Attributes[attributeName] are those of the thing",
			setup: func(s *fleetprovtest.Server) {
				withTemplates("pumps", typedTemplate("pump", "basel"), "valves", typedTemplate("valve", "bern"))(s)
				devicePolicy(connects, allow("iot:Publish",
					"topic/${iot:Connection.Thing.ThingTypeName}/state", "topic/site/${iot:Connection.Thing.Attributes[site]}/*"))(s)
			},
			steps: func(d *desk) {
				_, valve := d.enrol("valves", `{"ThingName":"valve-1"}`)
				_, pump := d.enrol("pumps", `{"ThingName":"pump-1"}`)
				d.connect(valve, "valve-1").publish("valve/state", "")
				c := d.connect(pump, "pump-1")
				c.publish("pump/state", "")
				c.publish("site/basel/1", "")
				for _, topic := range []string{"valve/state", "site/bern/1"} {
					c := d.connect(pump, "pump-1")
					c.sendPublish(2, topic, "")
					c.closedAfter(0)
				}
				other := d.connect(pump, "valve-1") // whose thing the certificate is not attached to
				other.sendPublish(2, "valve/state", "")
				other.closedAfter(0)
			},
		},
		{
			name:  "a policy variable without a value matches nothing",
			fact:  "thing-policy-variables: a client id that is not the name of a thing has no thing",
			setup: devicePolicy(connects, allow("iot:Publish", "topic/devices/${iot:Connection.Thing.ThingName}/*")),
			steps: func(d *desk) {
				_, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
				c := d.connect(certificate, "another")
				c.sendPublish(2, "devices//state", "")
				c.closedAfter(0)
			},
		},
	})
}

func TestPolicyOfRetainedMessages(t *testing.T) {
	retain := func(name string, allowed bool, statements ...string) behaviour {
		return behaviour{
			name:  name,
			fact:  "retained-message-policy-examples: to publish a retained message a client needs iot:RetainPublish besides iot:Publish",
			setup: devicePolicy(append(statements, connects)...),
			steps: func(d *desk) {
				p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
				p.Qos, p.MessageID, p.TopicName, p.Retain = 1, 2, "data/1", true
				c := d.device("device-1")
				c.send(p)
				if allowed {
					c.reads("40 02 00 02")
				} else {
					c.closedAfter(0)
				}
			},
		}
	}
	walk(t, []behaviour{
		retain("a retained message with both rights is acknowledged", true, publishes, allow("iot:RetainPublish", "topic/data/*")),
		retain("a retained message without the right to retain closes the connection", false, publishes),
		retain("a retained message with the right to retain others closes the connection", false, publishes, allow("iot:RetainPublish", "topic/other")),
		retain("a retained message that may not be published closes the connection", false, allow("iot:RetainPublish", "topic/data/*")),
	})
}

// typedTemplate registers a thing with a type and a site, and a policy for which
// DevicePolicy stands unless it was added.
func typedTemplate(thingType, site string) string {
	return `{"Parameters":{"ThingName":{"Type":"String"}},"Resources":{` + certificateResource + `,
		"policy":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"fleet-device-policy"}},
		"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"ThingName"},
			"ThingTypeName":"` + thingType + `","AttributePayload":{"site":"` + site + `"}}}}}`
}

func TestPolicyOfSubscribe(t *testing.T) {
	walk(t, []behaviour{
		{
			name:  "a denied subscribe closes the connection without a word",
			fact:  "iot-policy-actions: iot:Subscribe is checked for each topic filter; observed: the connection is closed, with no SUBACK",
			setup: claimPolicy(connects, allow("iot:Subscribe", "topicfilter/data/*"), deny("iot:Subscribe", "topicfilter/data/secret")),
			steps: func(d *desk) {
				d.claim("allowed").subscribe("data/1", "data/+/state", "data/#")
				for _, filters := range [][]string{
					{"other"}, {"data/secret"}, {"data/1", "other"}, {"#"}, {"+/1"},
				} {
					c := d.claim("device-1")
					c.sendSubscribe(1, 1, filters...)
					c.closedAfter(0)
				}
			},
		},
		{
			name: "a server with RefuseWithSUBACK refuses only the denied filters, with 0x80",
			fact: "mqtt: a subscription that is refused is answered 0x80 (MQTT 3.1.1 section 3.9.3)",
			setup: func(s *fleetprovtest.Server) {
				s.RefuseWithSUBACK = true
				s.ClaimPolicy = policy(connects, publishes, receives, allow("iot:Subscribe", "topicfilter/data/*"))
			},
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendSubscribe(1, 1, "other", "data/1", "more")
				c.reads("90 05 00 01 80 01 80")
				c.publish("other", "")
				c.publish("data/1", "hello")
				assert.Equal(d, "data/1", c.message().TopicName)
				c.silent(patience)
			},
		},
		{
			name:  "a policy is compared with the text of the filter",
			fact:  "pub-sub-policy: + and # in a policy are characters as any other, and * in a topicfilter matches them",
			setup: claimPolicy(connects, allow("iot:Subscribe", "topicfilter/a/#", "topicfilter/b/+", "topicfilter/c/*")),
			steps: func(d *desk) {
				d.claim("allowed").subscribe("a/#", "b/+", "c/+/d", "c/#")
				for _, filter := range []string{"a/1", "a/+", "b/1"} {
					c := d.claim("device-1")
					c.sendSubscribe(1, 1, filter)
					c.closedAfter(0)
				}
			},
		},
	})
}

func TestPolicyOfReceive(t *testing.T) {
	walk(t, []behaviour{
		{
			name:  "a claim that may not receive gets a SUBACK and a PUBACK and then silence",
			fact:  "iot-policy-actions: iot:Receive is checked for each message that is to be delivered; provision-wo-cert: a claim policy has it beside iot:Publish",
			setup: claimPolicy(connects, publishes, subscribes),
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendSubscribe(1, 1, csrTopic+"/accepted", csrTopic+"/rejected")
				c.reads("90 04 00 01 01 01")
				c.sendPublish(2, csrTopic, csrPayload(d.T, csr(d.T, ecKey(d.T, elliptic.P256()), nil)))
				c.reads("40 02 00 02")
				c.silent(patience)
				assert.Len(d, d.server.Certificates(), 1, "the operation has taken effect")
			},
		},
		{
			name:  "a device that may not receive a topic hears the others that its filter matches",
			fact:  "iot-policy-actions: iot:Receive is checked for the topic of the message, not for the filter",
			setup: devicePolicy(connects, publishes, subscribes, receives, deny("iot:Receive", "topic/data/secret")),
			steps: func(d *desk) {
				listener, sender := d.device("listener"), d.device("sender")
				listener.subscribe("data/#")
				sender.publish("data/secret", "")
				sender.publish("data/public", "")
				assert.Equal(d, "data/public", listener.message().TopicName)
				listener.silent(patience)
			},
		},
	})
}

// A claim may use exactly the filters and topics of the least-privilege policy on AWS's
// page.
func TestClaimHasLeastPrivilege(t *testing.T) {
	const fact = "provision-wo-cert: the claim policy allows the certificates' topics and those of its template"
	subscription := func(name string, allowed bool, filters ...string) behaviour {
		return behaviour{name: "a subscription to " + name, fact: fact, steps: func(d *desk) {
			c := d.claim("device-1")
			if allowed {
				c.subscribe(filters...)
				return
			}
			c.sendSubscribe(1, 1, filters...)
			c.closedAfter(0)
		}}
	}
	denied := func(topic string) behaviour {
		return behaviour{name: "a message to " + topic, fact: fact, steps: func(d *desk) {
			c := d.claim("device-1")
			c.sendPublish(2, topic, "{}")
			c.closedAfter(0)
		}}
	}
	walk(t, []behaviour{
		subscription("the answers of the flow is granted", true, flowFilters...),
		subscription("the answers in CBOR is granted", true,
			"$aws/certificates/create/cbor/accepted",
			"$aws/certificates/create/cbor/rejected",
			"$aws/certificates/create-from-csr/cbor/accepted",
			"$aws/certificates/create-from-csr/cbor/rejected",
			"$aws/provisioning-templates/test-template/provision/cbor/accepted",
			"$aws/provisioning-templates/test-template/provision/cbor/rejected",
			"$aws/certificates/create-from-csr/json/accepted",
			"$aws/certificates/create-from-csr/json/rejected"),
		subscription("a wildcard over answers is granted", true, "$aws/certificates/create/json/+", "$aws/certificates/create/#"),
		subscription("another template's answers is not", false, "$aws/provisioning-templates/other/provision/json/accepted"),
		subscription("an ordinary topic is not", false, "telemetry"),
		subscription("an ordinary topic among answers is not", false, append([]string{"telemetry"}, flowFilters...)...),
		subscription("everything is not", false, "#"),
		subscription("everything of AWS is not", false, "$aws/#"),
		subscription("a shadow is not", false, "$aws/things/device-1/shadow/get/accepted"),
		denied("telemetry"),
		denied("$aws/provisioning-templates/other/provision/json"),
		denied("$aws/things/device-1/shadow/update"),
		{
			name:  "a claim may provision with each template there is",
			fact:  fact,
			setup: withTemplates("early", minimalTemplate),
			steps: func(d *desk) {
				require.NoError(d, d.server.AddTemplate("late", minimalTemplate))
				for _, template := range []string{"test-template", "early", "late"} {
					d.enrol(template, `{}`)
				}
			},
		},
	})
}

func TestPoliciesAreChecked(t *testing.T) {
	for _, set := range []func(*fleetprovtest.Server){
		func(s *fleetprovtest.Server) { s.ClaimPolicy = `{"Version":"2012-10-17"}` },
		func(s *fleetprovtest.Server) { s.DevicePolicy = "policy" },
	} {
		server := fleetprovtest.NewUnstartedServer()
		defer closeServer(t, server)
		set(server)
		assert.Panics(t, server.Start)
		assert.Error(t, server.AddPolicy("name", "policy"))
	}
}
