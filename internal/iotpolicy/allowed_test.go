package iotpolicy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

func parse(t testing.TB, document string) *iotpolicy.Document {
	t.Helper()
	parsed, err := iotpolicy.Parse([]byte(document))
	require.NoError(t, err, "%s", document)
	return parsed
}

// statements puts statements into a document.
func statements(statements ...string) string {
	return `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ",") + `]}`
}

// onTopic is a statement about publishing to the resource of an ARN.
func onTopic(effect, resource string) string {
	return fmt.Sprintf(`{"Effect": %q, "Action": "iot:Publish", "Resource": "arn:aws:iot:us-east-1:123456789012:%s"}`, effect, resource)
}

func publish(topic string) iotpolicy.Request {
	return iotpolicy.Request{Action: iotpolicy.Publish, Resource: "topic/" + topic}
}

func TestAllowed(t *testing.T) {
	allowA, allowB := statements(onTopic("Allow", "topic/a")), statements(onTopic("Allow", "topic/b"))
	denyA := statements(onTopic("Deny", "topic/a"))
	for _, test := range []struct {
		name      string
		documents []string
		request   iotpolicy.Request
		want      bool
	}{
		// "iot-policies": all is denied by default, an explicit allow in any
		// policy overrides that, and an explicit deny in any policy overrides
		// any allow.
		{"no document allows nothing", nil, publish("a"), false},
		{"a statement about another resource allows nothing", []string{allowB}, publish("a"), false},
		{"one of several documents is enough", []string{allowB, allowA}, publish("a"), true},
		{"a denial alone allows nothing", []string{denyA}, publish("b"), false},
		{"a denial after an allowance wins", []string{allowA, denyA}, publish("a"), false},
		{"a denial before an allowance wins", []string{denyA, allowA}, publish("a"), false},
		{"a denial in the same document wins", []string{statements(onTopic("Deny", "topic/a"), onTopic("Allow", "topic/*"))}, publish("a"), false},
		{"a denial of another resource changes nothing", []string{denyA, allowB}, publish("b"), true},

		{"a resource has its type", []string{allowA}, iotpolicy.Request{Action: iotpolicy.Publish, Resource: "topicfilter/a"}, false},
		{"an action is not another one", []string{allowA}, iotpolicy.Request{Action: iotpolicy.Receive, Resource: "topic/a"}, false},
		{"upper and lower case differ in a resource", []string{allowA}, publish("A"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var documents []*iotpolicy.Document
			for _, document := range test.documents {
				documents = append(documents, parse(t, document))
			}
			assert.Equal(t, test.want, iotpolicy.Allowed(documents, test.request))
		})
	}
}

func TestActions(t *testing.T) {
	all := []iotpolicy.Action{iotpolicy.Connect, iotpolicy.Publish, iotpolicy.RetainPublish, iotpolicy.Receive, iotpolicy.Subscribe}
	// IAM, "reference_policies_elements_action": upper and lower case
	// are the same, and * and ? are wildcards.
	for _, test := range []struct {
		action string // as JSON
		want   []iotpolicy.Action
	}{
		{`"iot:Connect"`, []iotpolicy.Action{iotpolicy.Connect}},
		{`["iot:Publish", "iot:Receive"]`, []iotpolicy.Action{iotpolicy.Publish, iotpolicy.Receive}},
		{`"*"`, all},
		{`"iot:*"`, all},
		{`"iot:Pub*"`, []iotpolicy.Action{iotpolicy.Publish}},
		{`"iot:*ub*"`, []iotpolicy.Action{iotpolicy.Publish, iotpolicy.RetainPublish, iotpolicy.Subscribe}},
		{`"iot:???????"`, []iotpolicy.Action{iotpolicy.Connect, iotpolicy.Publish, iotpolicy.Receive}},
		{`"IOT:SUBSCRIBE"`, []iotpolicy.Action{iotpolicy.Subscribe}},
		{`"iot:RetainPublish"`, []iotpolicy.Action{iotpolicy.RetainPublish}},
		{`["iot:GetThingShadow", "iot:AssumeRoleWithCertificate", "greengrass:Discover", "greengrass:*"]`, nil},
	} {
		t.Run(test.action, func(t *testing.T) {
			document := parse(t, statements(`{"Effect": "Allow", "Action": `+test.action+`, "Resource": "*"}`))
			var allowed []iotpolicy.Action
			for _, action := range all {
				if iotpolicy.Allowed([]*iotpolicy.Document{document}, iotpolicy.Request{Action: action, Resource: "topic/a"}) {
					allowed = append(allowed, action)
				}
			}
			assert.Equal(t, test.want, allowed)
		})
	}
}

func TestResources(t *testing.T) {
	onThing := map[string]string{"iot:ClientId": "client1", "iot:Connection.Thing.ThingName": "thing1"}
	for _, test := range []struct {
		name, resource, requested string
		variables                 map[string]string
		want                      bool
	}{
		{"a star is every resource", "*", "topic/a", nil, true},
		{"any region and account", "arn:aws:iot:eu-central-1:210987654321:topic/a", "topic/a", nil, true},
		{"placeholders for region and account", "arn:aws:iot:REGION:ACCOUNT_ID:topic/a", "topic/a", nil, true},
		{"wildcards for region and account", "arn:aws:iot:*:*:topic/a", "topic/a", nil, true},
		{"another partition", "arn:aws-cn:iot:cn-north-1:123456789012:topic/a", "topic/a", nil, true},
		{"every resource of an account", "arn:aws:iot:us-east-1:123456789012:*", "client/c", nil, true},
		{"a colon in the resource", "arn:aws:iot:us-east-1:123456789012:topic/a:b", "topic/a:b", nil, true},

		// "pub-sub-policy": * is any combination of characters and ? any single
		// one; + and # are those characters, with no special meaning.
		{"* takes several levels", "arn:aws:iot:us-east-1:123456789012:topic/a/*", "topic/a/b/c", nil, true},
		{"* takes nothing", "arn:aws:iot:us-east-1:123456789012:topic/a/*", "topic/a/", nil, true},
		{"* in the middle", "arn:aws:iot:us-east-1:123456789012:topic/a/*/d", "topic/a/b/c/d", nil, true},
		{"what follows * is not left out", "arn:aws:iot:us-east-1:123456789012:topic/a/*/d", "topic/a/b/c", nil, false},
		{"what precedes * is not left out", "arn:aws:iot:us-east-1:123456789012:topic/a/*", "topic/a", nil, false},
		{"* across the type of a resource", "arn:aws:iot:us-east-1:123456789012:topic*/a", "topicfilter/a", nil, true},
		{"? takes one character", "arn:aws:iot:us-east-1:123456789012:topic/?", "topic/é", nil, true},
		{"? takes a slash", "arn:aws:iot:us-east-1:123456789012:topic/a?b", "topic/a/b", nil, true},
		{"? does not take nothing", "arn:aws:iot:us-east-1:123456789012:topic/a?", "topic/a", nil, false},
		{"? does not take two characters", "arn:aws:iot:us-east-1:123456789012:topic/a?", "topic/abc", nil, false},
		{"some/+/topic is that filter", "arn:aws:iot:us-east-1:123456789012:topicfilter/some/+/topic", "topicfilter/some/+/topic", nil, true},
		{"some/+/topic is no other filter", "arn:aws:iot:us-east-1:123456789012:topicfilter/some/+/topic", "topicfilter/some/string1/topic", nil, false},
		{"some/*/topic is every such filter", "arn:aws:iot:us-east-1:123456789012:topicfilter/some/*/topic", "topicfilter/some/string1/topic", nil, true},
		{"some/*/topic is the filter with +, too", "arn:aws:iot:us-east-1:123456789012:topicfilter/some/*/topic", "topicfilter/some/+/topic", nil, true},
		{"# is that filter", "arn:aws:iot:us-east-1:123456789012:topicfilter/#", "topicfilter/#", nil, true},
		{"# is no other filter", "arn:aws:iot:us-east-1:123456789012:topicfilter/#", "topicfilter/a", nil, false},
		{"the $ of a reserved topic does not begin a variable", "arn:aws:iot:us-east-1:123456789012:topic/$aws/certificates/create/*", "topic/$aws/certificates/create/json", nil, true},

		// "iot-policy-variables" and "thing-policy-variables".
		{"the client id", "arn:aws:iot:us-east-1:123456789012:topic/my/topic/${iot:ClientId}", "topic/my/topic/client1", onThing, true},
		{"not another client id", "arn:aws:iot:us-east-1:123456789012:topic/my/topic/${iot:ClientId}", "topic/my/topic/client2", onThing, false},
		{"a thing name before a wildcard", "arn:aws:iot:us-east-1:123456789012:topicfilter/${iot:Connection.Thing.ThingName}/room*", "topicfilter/thing1/room1", onThing, true},
		{"two variables", "arn:aws:iot:us-east-1:123456789012:topic/${iot:Connection.Thing.ThingName}/${iot:ClientId}", "topic/thing1/client1", onThing, true},
		{"a thing's attribute", "arn:aws:iot:us-east-1:123456789012:topic/${iot:Connection.Thing.Attributes[envType]}/a", "topic/prod/a", map[string]string{"iot:Connection.Thing.Attributes[envType]": "prod"}, true},
		{"the subject of the certificate", "arn:aws:iot:us-east-1:123456789012:client/${iot:Certificate.Subject.CommonName}", "client/cn", map[string]string{"iot:Certificate.Subject.CommonName": "cn"}, true},
		{"a variable without a value matches nothing", "arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}", "client/${iot:Connection.Thing.ThingName}", nil, false},
		{"a variable without a value is not empty", "arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}", "client/", nil, false},
		{"nor does what is around it match", "arn:aws:iot:us-east-1:123456789012:topic/${iot:Connection.Thing.ThingName}*", "topic/a", nil, false},
		{"a client id * is no wildcard", "arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/a", "topic/anything/a", map[string]string{"iot:ClientId": "*"}, false},
		{"a client id * is itself", "arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/a", "topic/*/a", map[string]string{"iot:ClientId": "*"}, true},
		{"a client id ? is no wildcard", "arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/a", "topic/x/a", map[string]string{"iot:ClientId": "?"}, false},
		{"a client id that looks like a variable is not one", "arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}", "topic/thing1", map[string]string{"iot:ClientId": "${iot:Connection.Thing.ThingName}", "iot:Connection.Thing.ThingName": "thing1"}, false},
		// "basic-policy-variables" warns of this client id.
		{"a client id + gives the filter with +", "arn:aws:iot:us-east-1:123456789012:topicfilter/my/${iot:ClientId}/topic", "topicfilter/my/+/topic", map[string]string{"iot:ClientId": "+"}, true},

		// IAM, "reference_policies_variables".
		{"the name of a variable in another case", "arn:aws:iot:us-east-1:123456789012:topic/${IOT:clientid}", "topic/client1", onThing, true},
		{"an exact match of the name takes precedence", "arn:aws:iot:us-east-1:123456789012:topic/${iot:Connection.Thing.Attributes[a]}", "topic/lower", map[string]string{"iot:Connection.Thing.Attributes[A]": "upper", "iot:Connection.Thing.Attributes[a]": "lower"}, true},
		{"${*} is the character", "arn:aws:iot:us-east-1:123456789012:topic/${*}", "topic/*", nil, true},
		{"${*} is no wildcard", "arn:aws:iot:us-east-1:123456789012:topic/${*}", "topic/a", nil, false},
		{"${?} is the character", "arn:aws:iot:us-east-1:123456789012:topic/${?}", "topic/?", nil, true},
		{"${?} is no wildcard", "arn:aws:iot:us-east-1:123456789012:topic/${?}", "topic/a", nil, false},
		{"${$} is the character", "arn:aws:iot:us-east-1:123456789012:topic/${$}{iot:ClientId}", "topic/${iot:ClientId}", onThing, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			document := parse(t, statements(fmt.Sprintf(`{"Effect": "Allow", "Action": "iot:Connect", "Resource": ["arn:aws:iot:us-east-1:123456789012:client/other", %q]}`, test.resource)))
			assert.Equal(t, test.want, iotpolicy.Allowed([]*iotpolicy.Document{document}, iotpolicy.Request{
				Action:    iotpolicy.Connect,
				Resource:  test.requested,
				Variables: test.variables,
			}))
		})
	}
}

// A matcher that tries every end of every wildcard would not finish.
func TestManyWildcards(t *testing.T) {
	document := parse(t, statements(onTopic("Allow", "topic/"+strings.Repeat("*a", 500)+"*b")))
	topic := strings.Repeat("a", 4000)
	assert.False(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, publish(topic)))
	assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, publish(topic+"b")))
}

func TestConditions(t *testing.T) {
	thing := map[string]string{
		"iot:ClientId":                          "thing1",
		"iot:Connection.Thing.ThingName":        "thing1",
		"iot:Connection.Thing.IsAttached":       "true",
		"iot:Connection.Thing.Attributes[star]": "*",
	}
	detached := map[string]string{"iot:ClientId": "client1", "iot:Connection.Thing.IsAttached": "false"}
	nothing := map[string]string(nil)
	at := func(address string) map[string]string { return map[string]string{"aws:SourceIp": address} }
	for _, test := range []struct {
		name, condition string
		variables       map[string]string
		want            bool
	}{
		{"no condition", `{}`, nothing, true},

		// "thing-policy-examples".
		{"attached to a thing", `{"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}`, thing, true},
		{"attached to no thing", `{"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}`, detached, false},
		{"not known whether attached", `{"Bool": {"iot:Connection.Thing.IsAttached": "true"}}`, nothing, false},
		{"attached to no thing, as asked for", `{"Bool": {"iot:Connection.Thing.IsAttached": "false"}}`, detached, true},
		{"not known, so not false", `{"Bool": {"iot:Connection.Thing.IsAttached": "false"}}`, nothing, false},
		{"a Boolean in capitals", `{"Bool": {"iot:Connection.Thing.IsAttached": "TRUE"}}`, thing, true},
		{"a Boolean without quotation marks", `{"Bool": {"iot:Connection.Thing.IsAttached": true}}`, thing, true},

		// IAM, "reference_policies_elements_condition_operators".
		{"StringEquals, and it is", `{"StringEquals": {"iot:ClientId": "thing1"}}`, thing, true},
		{"StringEquals, and it is another", `{"StringEquals": {"iot:ClientId": "thing2"}}`, thing, false},
		{"StringEquals minds the case of letters", `{"StringEquals": {"iot:ClientId": "Thing1"}}`, thing, false},
		{"StringEquals has no wildcards", `{"StringEquals": {"iot:ClientId": ["thing*", "thing?"]}}`, thing, false},
		{"StringEquals of a star", `{"StringEquals": {"iot:Connection.Thing.Attributes[star]": "*"}}`, thing, true},
		{"StringEquals of a number", `{"StringEquals": {"iot:ClientId": 1.0}}`, map[string]string{"iot:ClientId": "1.0"}, true},
		{"StringNotEquals, and it is", `{"StringNotEquals": {"iot:ClientId": "thing1"}}`, thing, false},
		{"StringNotEquals, and it is another", `{"StringNotEquals": {"iot:ClientId": "thing2"}}`, thing, true},
		{"StringEqualsIgnoreCase, and it is", `{"StringEqualsIgnoreCase": {"iot:ClientId": "THING1"}}`, thing, true},
		{"StringEqualsIgnoreCase, and it is another", `{"StringEqualsIgnoreCase": {"iot:ClientId": "THING*"}}`, thing, false},
		{"StringNotEqualsIgnoreCase, and it is", `{"StringNotEqualsIgnoreCase": {"iot:ClientId": "THING1"}}`, thing, false},
		{"StringNotEqualsIgnoreCase, and it is another", `{"StringNotEqualsIgnoreCase": {"iot:ClientId": "THING2"}}`, thing, true},
		{"StringLike, and it is", `{"StringLike": {"iot:ClientId": "th?ng*"}}`, thing, true},
		{"StringLike, and it is another", `{"StringLike": {"iot:ClientId": "thing?2"}}`, thing, false},
		{"StringLike minds the case of letters", `{"StringLike": {"iot:ClientId": "Thing*"}}`, thing, false},
		{"StringNotLike, and it is", `{"StringNotLike": {"iot:ClientId": "thing*"}}`, thing, false},
		{"StringNotLike, and it is another", `{"StringNotLike": {"iot:ClientId": "client*"}}`, thing, true},

		// The same page: a key that is not present makes a condition false, and
		// a negated one true.
		{"StringEquals of a missing key", `{"StringEquals": {"iot:DomainName": "a"}}`, thing, false},
		{"StringLike of a missing key", `{"StringLike": {"iot:DomainName": "*"}}`, thing, false},
		{"StringNotEquals of a missing key", `{"StringNotEquals": {"iot:DomainName": "a"}}`, thing, true},
		{"StringNotLike of a missing key", `{"StringNotLike": {"iot:DomainName": "*"}}`, thing, true},
		{"StringNotEqualsIgnoreCase of a missing key", `{"StringNotEqualsIgnoreCase": {"iot:DomainName": "a"}}`, thing, true},

		// The same page, "IP address condition operators".
		{"IpAddress, and it is in the network", `{"IpAddress": {"aws:SourceIp": ["198.51.100.7", "203.0.113.0/24"]}}`, at("203.0.113.9"), true},
		{"IpAddress, and it is the address", `{"IpAddress": {"aws:SourceIp": "203.0.113.9"}}`, at("203.0.113.9"), true},
		{"IpAddress, and it is another", `{"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}`, at("203.0.114.9"), false},
		{"IpAddress of version 6", `{"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}`, at("2001:db8::1"), true},
		{"IpAddress of version 4 in version 6", `{"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}`, at("::ffff:203.0.113.9"), true},
		{"IpAddress of what is none", `{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}`, at("pipe"), false},
		{"IpAddress of a missing key", `{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}`, nothing, false},
		{"NotIpAddress, and it is in the network", `{"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}`, at("203.0.113.9"), false},
		{"NotIpAddress, and it is another", `{"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}`, at("203.0.114.9"), true},

		// IAM, "reference_policies_variables", "Policy variables with no value".
		{"a variable as the value", `{"StringEquals": {"iot:ClientId": "${iot:Connection.Thing.ThingName}"}}`, thing, true},
		{"a variable without a value is equal to nothing", `{"StringEquals": {"iot:ClientId": "${iot:Connection.Thing.ThingName}"}}`, detached, false},
		{"a variable without a value is unequal to all", `{"StringNotEquals": {"iot:ClientId": "${iot:Connection.Thing.ThingName}"}}`, detached, true},
		{"the value of a variable has no wildcards", `{"StringLike": {"iot:ClientId": "${iot:Connection.Thing.Attributes[star]}"}}`, thing, false},
		{"a variable beside a wildcard", `{"StringLike": {"iot:ClientId": "${iot:ClientId}*"}}`, thing, true},

		// IAM, "reference_policies_multi-value-conditions": AND of operators
		// and of keys, OR of values, NOR of the values of a negated operator.
		{"one of the values", `{"StringEquals": {"iot:ClientId": ["thing2", "thing1"]}}`, thing, true},
		{"none of the values", `{"StringEquals": {"iot:ClientId": ["thing2", "thing3"]}}`, thing, false},
		{"negated, and one of the values", `{"StringNotEquals": {"iot:ClientId": ["thing2", "thing1"]}}`, thing, false},
		{"negated, and none of the values", `{"StringNotEquals": {"iot:ClientId": ["thing2", "thing3"]}}`, thing, true},
		{"both keys", `{"StringEquals": {"iot:ClientId": "thing1", "iot:Connection.Thing.ThingName": "thing1"}}`, thing, true},
		{"one of two keys", `{"StringEquals": {"iot:ClientId": "thing1", "iot:Connection.Thing.ThingName": "thing2"}}`, thing, false},
		{"both operators", `{"StringEquals": {"iot:ClientId": "thing1"}, "Bool": {"iot:Connection.Thing.IsAttached": "true"}}`, thing, true},
		{"one of two operators", `{"StringEquals": {"iot:ClientId": "thing1"}, "Bool": {"iot:Connection.Thing.IsAttached": "false"}}`, thing, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			document := parse(t, statements(`{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*", "Condition": `+test.condition+`}`))
			assert.Equal(t, test.want, iotpolicy.Allowed([]*iotpolicy.Document{document}, iotpolicy.Request{
				Action:    iotpolicy.Connect,
				Resource:  "client/thing1",
				Variables: test.variables,
			}))
		})
	}
}

func TestConditionLimitsADenial(t *testing.T) {
	document := parse(t, statements(
		onTopic("Allow", "topic/*"),
		`{"Effect": "Deny", "Action": "iot:Publish", "Resource": "*", "Condition": {"StringEquals": {"iot:ClientId": "thing1"}}}`,
	))
	request := publish("a")
	request.Variables = map[string]string{"iot:ClientId": "thing2"}
	assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, request))
	request.Variables = map[string]string{"iot:ClientId": "thing1"}
	assert.False(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, request))
}
