package iotpolicy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

func TestSetOperators(t *testing.T) {
	const (
		allTags    = `{"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["environment", "cost-center"]}}`
		anyTag     = `{"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["environment", "cost-center"]}}`
		noneOfOne  = `{"ForAllValues:StringNotLike": {"iot:ConnectAttributes": "key1*"}}`
		noneOfTwo  = `{"ForAllValues:StringNotLike": {"iot:ConnectAttributes": ["key1*", "key2*"]}}`
		anyBut     = `{"ForAnyValue:StringNotEquals": {"iot:ConnectAttributes": ["environment", "cost-center"]}}`
		allIgnored = `{"ForAllValues:StringEqualsIgnoreCase": {"iot:ConnectAttributes": "environment"}}`
		anyIgnored = `{"ForAnyValue:StringNotEqualsIgnoreCase": {"iot:ConnectAttributes": "environment"}}`
		allOfNone  = `{"ForAllValues:StringEquals": {"iot:ConnectAttributes": []}}`
		ofOneValue = `{"StringEquals": {"iot:DomainName": "environment"}}`
		notOfOne   = `{"StringNotEquals": {"iot:DomainName": "environment"}}`
	)
	tags := func(values ...string) map[string][]string {
		return map[string][]string{"iot:ConnectAttributes": values}
	}
	missing := map[string][]string(nil)
	for _, test := range []struct {
		name, condition string
		values          map[string][]string
		want            bool
	}{
		// The tables of IAM,
		// "reference_policies_condition-single-vs-multi-valued-context-keys".
		{"all are among the values: the first", allTags, tags("environment"), true},
		{"all are among the values: the second", allTags, tags("cost-center"), true},
		{"all are among the values: both", allTags, tags("environment", "cost-center"), true},
		{"all but one are among the values", allTags, tags("environment", "dept"), false},
		{"all of a missing key", allTags, missing, true},
		{"any is among the values: the first", anyTag, tags("environment"), true},
		{"any is among the values: the second", anyTag, tags("cost-center"), true},
		{"any is among the values: both", anyTag, tags("environment", "cost-center"), true},
		{"any is among the values, beside another", anyTag, tags("environment", "dept"), true},
		{"not any is among the values", anyTag, tags("dept"), false},
		{"any of a missing key", anyTag, missing, false},

		// IAM, "reference_policies_condition_examples-multi-valued-context-keys".
		{"none is like the value", noneOfOne, tags("key2:audit"), true},
		{"one is like the value", noneOfOne, tags("key1:legal"), false},
		{"two are like the value", noneOfOne, tags("key1:hr", "key1:personnel"), false},
		{"none of a missing key is like the value", noneOfOne, missing, true},
		{"none is like any of the values", noneOfTwo, tags("key3:legal"), true},
		{"one is like one of the values", noneOfTwo, tags("key1:legal"), false},
		{"two are like one of the values", noneOfTwo, tags("key1:hr", "key1:personnel"), false},
		{"each is like another of the values", noneOfTwo, tags("key1:hr", "key2:audit"), false},
		{"none of a missing key is like any of the values", noneOfTwo, missing, true},

		// What both pages say of these operators, without a table.
		{"one is like the value, and another is not", noneOfOne, tags("key2:audit", "key1:legal"), false},
		{"any but the values, and it is another", anyBut, tags("dept"), true},
		{"any but the values, and one is another", anyBut, tags("environment", "dept"), true},
		{"any but the values, and all are among them", anyBut, tags("environment", "cost-center"), false},
		{"any but the values, of a missing key", anyBut, missing, false},
		{"all, whatever the case of letters", allIgnored, tags("Environment", "ENVIRONMENT"), true},
		{"all but one, whatever the case of letters", allIgnored, tags("Environment", "dept"), false},
		{"any but the value, whatever the case of letters", anyIgnored, tags("Environment"), false},
		{"any but the value, and one is another, whatever the case of letters", anyIgnored, tags("Environment", "dept"), true},
		{"all are among no values", allOfNone, tags("environment"), false},
		{"all of a missing key are among no values", allOfNone, missing, true},

		// IAM, "reference_policies_elements_condition_operators": an empty string
		// is not a value. An empty list has none either.
		{"all of no values", allTags, tags(), true},
		{"all of an empty string", allTags, tags(""), true},
		{"any of no values", anyTag, tags(), false},
		{"any of an empty string", anyTag, tags(""), false},
		{"any but the values, of an empty string", anyBut, tags(""), false},
		{"all of an empty string are among no values", allOfNone, tags(""), true},

		{"the key in another case", anyTag, map[string][]string{"IOT:connectattributes": {"environment"}}, true},
		{"without a set operator, a value is not seen", ofOneValue, map[string][]string{"iot:DomainName": {"environment"}}, false},
		{"without a set operator, a value is not seen to be equal", notOfOne, map[string][]string{"iot:DomainName": {"environment"}}, true},

		// IAM, "reference_policies_variables", and the first of the pages above:
		// a key with several values is not a variable.
		{"a variable beside a wildcard", `{"ForAllValues:StringLike": {"iot:ConnectAttributes": "${iot:ClientId}:*"}}`, tags("client1:a", "client1:b"), true},
		{"a variable without a value", `{"ForAnyValue:StringLike": {"iot:ConnectAttributes": "${iot:DomainName}*"}}`, tags("client1"), false},
		{"a key with several values as a variable", `{"StringLike": {"iot:ClientId": "${iot:ConnectAttributes}"}}`, tags("client1"), false},

		{"all of a key with one value", `{"ForAllValues:StringEquals": {"iot:ClientId": "client1"}}`, missing, true},
		{"all of a key with another value", `{"ForAllValues:StringEquals": {"iot:ClientId": "client2"}}`, missing, false},
		{"any of a key with one value", `{"ForAnyValue:StringEquals": {"iot:ClientId": "client1"}}`, missing, true},
		{"any of a key with another value", `{"ForAnyValue:StringEquals": {"iot:ClientId": "client2"}}`, missing, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			document := parse(t, statements(`{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*", "Condition": `+test.condition+`}`))
			assert.Equal(t, test.want, iotpolicy.Allowed([]*iotpolicy.Document{document}, iotpolicy.Request{
				Action:    iotpolicy.Connect,
				Resource:  "client/client1",
				Variables: map[string]string{"iot:ClientId": "client1"},
				Values:    test.values,
			}))
		})
	}
}

// Evaluating a request must not change it: all requests of a connection share its maps.
func TestSetOperatorsKeepTheRequest(t *testing.T) {
	document := parse(t, statements(`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": "a"}}}`))
	values := map[string][]string{"iot:ConnectAttributes": {"", "a"}}
	assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, iotpolicy.Request{Action: iotpolicy.Connect, Resource: "client/a", Values: values}))
	assert.Equal(t, map[string][]string{"iot:ConnectAttributes": {"", "a"}}, values)
}

// The documents of "connect-policy", "MQTT persistent sessions policy examples".
func TestConnectAttributes(t *testing.T) {
	statement := func(effect, condition string) string {
		return `{"Effect": "` + effect + `", "Action": ["iot:Connect"], "Resource": "arn:aws:iot:us-east-1:123456789012:client/client1", "Condition": {` + condition + `}}`
	}
	type allowed struct {
		clean, persistent, will, both bool
	}
	for _, test := range []struct {
		name, document string
		want           allowed
	}{
		{
			"allows PersistentConnect",
			statements(statement("Allow", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}`)),
			allowed{clean: true, persistent: true},
		},
		{
			"disallows PersistentConnect, other features are allowed",
			statements(statement("Allow", `"ForAllValues:StringNotEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}`)),
			allowed{clean: true, will: true},
		},
		{
			"the same as a denial",
			statements(
				`{"Effect": "Allow", "Action": ["iot:Connect"], "Resource": "*"}`,
				statement("Deny", `"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}`),
			),
			allowed{clean: true, will: true},
		},
		{
			"allows both PersistentConnect and LastWill",
			statements(statement("Allow", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect", "LastWill"]}`)),
			allowed{clean: true, persistent: true, will: true, both: true},
		},
		{
			"allows clean connect with or without LastWill",
			statements(statement("Allow", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}`)),
			allowed{clean: true, will: true},
		},
		{
			"only allows connect using default features",
			statements(statement("Allow", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": []}`)),
			allowed{clean: true},
		},
		{
			"allows connect only with PersistentConnect",
			statements(statement("Allow", `"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}`)),
			allowed{persistent: true, both: true},
		},
		{
			"must have both PersistentConnect and LastWill",
			statements(
				statement("Allow", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect", "LastWill"]}`),
				statement("Deny", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}`),
				statement("Deny", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}`),
				statement("Deny", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": []}`),
			),
			allowed{both: true},
		},
		{
			"must not have PersistentConnect but can have LastWill",
			statements(
				statement("Deny", `"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}`),
				statement("Allow", `"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}`),
			),
			allowed{clean: true, will: true},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			documents := []*iotpolicy.Document{parse(t, test.document)}
			connects := func(attributes ...string) bool {
				return iotpolicy.Allowed(documents, iotpolicy.Request{
					Action:   iotpolicy.Connect,
					Resource: "client/client1",
					Values:   map[string][]string{"iot:ConnectAttributes": attributes},
				})
			}
			assert.Equal(t, test.want, allowed{
				clean:      connects(),
				persistent: connects("PersistentConnect"),
				will:       connects("LastWill"),
				both:       connects("PersistentConnect", "LastWill"),
			})
		})
	}
}
