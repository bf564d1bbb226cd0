package iotpolicy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

func TestParseRefuses(t *testing.T) {
	withResource := func(resource string) string {
		return statements(`{"Effect": "Allow", "Action": "iot:Publish", "Resource": ` + resource + `}`)
	}
	withAction := func(action string) string {
		return statements(`{"Effect": "Allow", "Action": ` + action + `, "Resource": "*"}`)
	}
	withCondition := func(condition string) string {
		return statements(`{"Effect": "Allow", "Action": "iot:Publish", "Resource": "*", "Condition": ` + condition + `}`)
	}
	for _, test := range []struct {
		name, document, want string
	}{
		{"nothing", ``, "unexpected end of JSON input"},
		{"half a document", `{"Version": "2012-10-17", "Statement": [`, "unexpected end of JSON input"},
		{"two documents", statements(onTopic("Allow", "topic/a")) + `{}`, "invalid character '{' after top-level value"},
		{"not an object", `["2012-10-17"]`, "a policy document is a JSON object"},
		{"null", `null`, "a policy document is a JSON object"},

		// "example-iot-policies-elements": must be set to "2012-10-17".
		{"no version", `{"Statement": []}`, `the Version must be "2012-10-17"`},
		{"the version before", `{"Version": "2008-10-17", "Statement": []}`, `the Version must be "2012-10-17"`},
		{"a version that is not a string", `{"Version": {}, "Statement": []}`, `the Version must be "2012-10-17"`},
		{"no statement", `{"Version": "2012-10-17"}`, "the Statement is missing or empty"},
		{"an empty list of statements", statements(), "the Statement is missing or empty"},
		{"a statement that is not an object", statements(`"Allow"`), "statement 1: a statement is a JSON object"},
		{"the second statement", statements(onTopic("Allow", "topic/a"), `{}`), `statement 2: the Effect must be "Allow" or "Deny"`},
		{"an unknown element of the document", `{"Version": "2012-10-17", "Statements": []}`, `unknown element "Statements"`},
		// IAM, "reference_policies_grammar": no Id in a policy of an identity.
		{"an Id", `{"Version": "2012-10-17", "Id": "1", "Statement": []}`, `unknown element "Id"`},
		{"an unknown element of a statement", statements(`{"effect": "Allow"}`), `statement 1: unknown element "effect"`},
		// IAM, "reference_policies_grammar": no element has a key twice.
		{"an element given twice", `{"Version": "2012-10-17", "Version": "2012-10-17"}`, `"Version" is given twice`},
		{"an effect given twice", statements(`{"Effect": "Allow", "Effect": "Deny"}`), `"Effect" is given twice`},
		{"a condition key given twice", withCondition(`{"StringEquals": {"iot:ClientId": "a", "iot:ClientId": "b"}}`), `"iot:ClientId" is given twice`},
		{"a Sid that is not a string", statements(`{"Sid": 1}`), "statement 1: the Sid must be a string"},

		{"a principal", statements(`{"Principal": "*", "Effect": "Allow"}`), "statement 1: Principal is not supported"},
		{"NotPrincipal", statements(`{"NotPrincipal": "*"}`), "statement 1: NotPrincipal is not supported"},
		{"NotAction", statements(`{"Effect": "Allow", "NotAction": "iot:Publish", "Resource": "*"}`), "statement 1: NotAction is not supported"},
		{"NotResource", statements(`{"Effect": "Allow", "Action": "iot:Publish", "NotResource": "*"}`), "statement 1: NotResource is not supported"},

		{"an unknown effect", statements(`{"Effect": "allow"}`), `statement 1: the Effect must be "Allow" or "Deny"`},
		{"an effect that is not a string", statements(`{"Effect": ["Allow"]}`), `statement 1: the Effect must be "Allow" or "Deny"`},

		{"no action", statements(`{"Effect": "Allow", "Resource": "*"}`), "statement 1: the Action is missing or empty"},
		{"an empty list of actions", withAction(`[]`), "statement 1: the Action is missing or empty"},
		{"an action that is not a string", withAction(`["iot:Publish", null]`), "statement 1: the Action must be a string or a list of strings"},
		{"a misspelled action", withAction(`"iot:Suscribe"`), `statement 1: Action "iot:Suscribe": AWS IoT has no such policy action`},
		{"a wildcard that no action matches", withAction(`"iot:Create*"`), `statement 1: Action "iot:Create*": AWS IoT has no such policy action`},
		{"an action without its service", withAction(`"Connect"`), `statement 1: Action "Connect": an action is a service, a colon and a name, such as iot:Connect`},
		{"an empty action", withAction(`""`), `statement 1: Action "": an action is a service, a colon and a name, such as iot:Connect`},
		{"an action of two names", withAction(`"iot:Publish iot:Receive"`), `statement 1: Action "iot:Publish iot:Receive": an action is a service, a colon and a name, such as iot:Connect`},
		{"an action with a line break", withAction(`"iot:Publish\n"`), `statement 1: Action "iot:Publish\n": an action is a service, a colon and a name, such as iot:Connect`},

		{"no resource", statements(`{"Effect": "Allow", "Action": "iot:Publish"}`), "statement 1: the Resource is missing or empty"},
		{"an empty list of resources", withResource(`[]`), "statement 1: the Resource is missing or empty"},
		{"a resource that is not a string", withResource(`{"a": "b"}`), "statement 1: the Resource must be a string or a list of strings"},
		{"a topic without its ARN", withResource(`"topic/a"`), `statement 1: Resource "topic/a": a resource is * or an ARN, such as arn:aws:iot:us-east-1:123456789012:topic/a/b`},
		{"an ARN without its account", withResource(`"arn:aws:iot:us-east-1:topic/a"`), `statement 1: Resource "arn:aws:iot:us-east-1:topic/a": a resource is * or an ARN, such as arn:aws:iot:us-east-1:123456789012:topic/a/b`},
		{"an ARN without its partition", withResource(`"arn::iot:us-east-1:1:topic/a"`), `statement 1: Resource "arn::iot:us-east-1:1:topic/a": a resource is * or an ARN, such as arn:aws:iot:us-east-1:123456789012:topic/a/b`},
		{"an ARN without its resource", withResource(`"arn:aws:iot:us-east-1:1:"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:": a resource is * or an ARN, such as arn:aws:iot:us-east-1:123456789012:topic/a/b`},
		{"a list within a string", withResource(`"[\"arn:aws:iot:us-east-1:1:topic/a\"]"`), `statement 1: Resource "[\"arn:aws:iot:us-east-1:1:topic/a\"]": a resource is * or an ARN, such as arn:aws:iot:us-east-1:123456789012:topic/a/b`},
		{"any service", withResource(`"arn:aws:*:us-east-1:1:topic/a"`), `statement 1: Resource "arn:aws:*:us-east-1:1:topic/a": wildcards for the service are not supported`},
		{"a variable without a value here", withResource(`"arn:aws:iot:us-east-1:1:topic/${aws:username}"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:topic/${aws:username}": the variable or condition key aws:username is not supported, because it has no value here`},
		// IAM, "reference_policies_variables": not before the fifth colon.
		{"a variable as the account", withResource(`"arn:aws:iot:us-east-1:${aws:PrincipalAccount}:topic/a"`), `statement 1: Resource "arn:aws:iot:us-east-1:${aws:PrincipalAccount}:topic/a": variables are allowed only after the account`},
		{"a variable that does not end", withResource(`"arn:aws:iot:us-east-1:1:topic/${iot:ClientId"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:topic/${iot:ClientId": a variable has no closing brace`},
		{"a variable without a name", withResource(`"arn:aws:iot:us-east-1:1:topic/${}"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:topic/${}": ${} is not a variable; variables with a default value are not supported`},
		{"a variable with a default value", withResource(`"arn:aws:iot:us-east-1:1:topic/${iot:ClientId, 'a'}"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:topic/${iot:ClientId, 'a'}": ${iot:ClientId, 'a'} is not a variable; variables with a default value are not supported`},
		{"a variable in a variable", withResource(`"arn:aws:iot:us-east-1:1:topic/${iot:${a}}"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:topic/${iot:${a}}": ${iot:${a} is not a variable; variables with a default value are not supported`},

		{"a condition that is not an object", withCondition(`null`), "statement 1: the Condition must be a JSON object"},
		{"an unknown operator", withCondition(`{"StringEqual": {"iot:ClientId": "a"}}`), `statement 1: the condition operator "StringEqual" is not supported`},
		{"Null", withCondition(`{"Null": {"iot:ClientId": "true"}}`), `statement 1: the condition operator "Null" is not supported`},
		{"IfExists", withCondition(`{"StringEqualsIfExists": {"iot:ClientId": "a"}}`), `statement 1: the condition operator "StringEqualsIfExists" is not supported`},
		{"IfExists behind a set operator", withCondition(`{"ForAllValues:StringEqualsIfExists": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: the condition operator "ForAllValues:StringEqualsIfExists" is not supported`},
		{"a set operator before Bool", withCondition(`{"ForAnyValue:Bool": {"iot:Connection.Thing.IsAttached": "true"}}`), `statement 1: the condition operator "ForAnyValue:Bool" is not supported`},
		{"an unknown set operator", withCondition(`{"ForSomeValues:StringEquals": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: the condition operator "ForSomeValues:StringEquals" is not supported`},
		{"a set operator before nothing", withCondition(`{"ForAllValues:": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: the condition operator "ForAllValues:" is not supported`},
		{"a set operator alone", withCondition(`{"ForAllValues": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: the condition operator "ForAllValues" is not supported`},
		{"a colon without a set operator", withCondition(`{":StringEquals": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: the condition operator ":StringEquals" is not supported`},
		{"two set operators", withCondition(`{"ForAllValues:ForAnyValue:StringEquals": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: the condition operator "ForAllValues:ForAnyValue:StringEquals" is not supported`},
		// IAM, "reference_policies_condition-single-vs-multi-valued-context-keys":
		// such a key requires a set operator.
		{"a key with several values", withCondition(`{"StringEquals": {"iot:ConnectAttributes": "LastWill"}}`), `statement 1: StringEquals of "iot:ConnectAttributes": a key with several values needs ForAllValues: or ForAnyValue: before the operator`},
		{"that key in other letters", withCondition(`{"StringNotLike": {"IOT:connectattributes": "LastWill"}}`), `statement 1: StringNotLike of "IOT:connectattributes": a key with several values needs ForAllValues: or ForAnyValue: before the operator`},
		{"a set without a value", withCondition(`{"ForAllValues:StringEquals": {"iot:ConnectAttributes": null}}`), `statement 1: ForAllValues:StringEquals of "iot:ConnectAttributes": the value is missing or empty`},
		{"any of an empty list", withCondition(`{"ForAnyValue:StringEquals": {"iot:ConnectAttributes": []}}`), `statement 1: ForAnyValue:StringEquals of "iot:ConnectAttributes": the value is missing or empty`},
		{"all but an empty list", withCondition(`{"ForAllValues:StringNotEquals": {"iot:ConnectAttributes": []}}`), `statement 1: ForAllValues:StringNotEquals of "iot:ConnectAttributes": the value is missing or empty`},
		{"an operator for times", withCondition(`{"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}`), `statement 1: the condition operator "DateLessThan" is not supported`},
		{"a key without a value here", withCondition(`{"StringEquals": {"aws:PrincipalOrgID": "o-1"}}`), `statement 1: StringEquals of "aws:PrincipalOrgID": the variable or condition key aws:PrincipalOrgID is not supported, because it has no value here`},
		{"a value with such a variable", withCondition(`{"StringEquals": {"iot:ClientId": "${aws:userid}"}}`), `statement 1: StringEquals of "iot:ClientId": "${aws:userid}": the variable or condition key aws:userid is not supported, because it has no value here`},
		{"an alternative name of a certificate", withResource(`"arn:aws:iot:us-east-1:1:topic/${iot:Certificate.SubjectAlternativeName.DNSName}"`), `statement 1: Resource "arn:aws:iot:us-east-1:1:topic/${iot:Certificate.SubjectAlternativeName.DNSName}": the variable or condition key iot:Certificate.SubjectAlternativeName.DNSName is not supported, because it has no value here`},
		{"an address that is none", withCondition(`{"IpAddress": {"aws:SourceIp": "203.0.113"}}`), `statement 1: IpAddress of "aws:SourceIp": "203.0.113" is not an IP address, nor a network such as 203.0.113.0/24`},
		{"a set operator before IpAddress", withCondition(`{"ForAnyValue:IpAddress": {"aws:SourceIp": "203.0.113.1"}}`), `statement 1: the condition operator "ForAnyValue:IpAddress" is not supported`},
		{"an operator without keys", withCondition(`{"StringEquals": "a"}`), "statement 1: the StringEquals must be a JSON object"},
		{"a key without a value", withCondition(`{"StringEquals": {"iot:ClientId": []}}`), `statement 1: StringEquals of "iot:ClientId": the value is missing or empty`},
		{"a value that is an object", withCondition(`{"StringEquals": {"iot:ClientId": {}}}`), `statement 1: StringEquals of "iot:ClientId": a value is a string, a number or a Boolean`},
		{"a Boolean that is neither true nor false", withCondition(`{"Bool": {"iot:Connection.Thing.IsAttached": "yes"}}`), `statement 1: Bool of "iot:Connection.Thing.IsAttached": "yes" is not true or false`},
		{"a value with a broken variable", withCondition(`{"StringEquals": {"iot:ClientId": "${"}}`), `statement 1: StringEquals of "iot:ClientId": "${": a variable has no closing brace`},
	} {
		t.Run(test.name, func(t *testing.T) {
			document, err := iotpolicy.Parse([]byte(test.document))
			assert.EqualError(t, err, test.want)
			assert.Nil(t, document)
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for name, document := range map[string]string{
		"one statement without brackets": `{"Version": "2012-10-17", "Statement": ` + onTopic("Allow", "topic/a") + `}`,
		"a Sid":                          statements(`{"Sid": "one", "Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:us-east-1:123456789012:topic/a"}`),
		"elements in any order":          `{"Statement": [{"Resource": ["arn:aws:iot:us-east-1:123456789012:topic/a"], "Action": ["iot:Publish"], "Effect": "Allow"}], "Version": "2012-10-17"}`,
	} {
		t.Run(name, func(t *testing.T) {
			parsed := parse(t, document)
			assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{parsed}, publish("a")))
			assert.False(t, iotpolicy.Allowed([]*iotpolicy.Document{parsed}, publish("b")))
		})
	}
}

// A policy for Greengrass has statements that decide nothing about MQTT, with conditions
// that cannot be evaluated here.
func TestStatementsOfOtherServicesDoNotMatter(t *testing.T) {
	const condition = `"Condition": {"StringEquals": {"aws:username": "operator"}, "DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}`
	const onCore = `"Resource": "arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/*"`
	for _, test := range []struct{ name, statement string }{
		{"an action of Greengrass on one of its resources", `{"Effect": "Deny", "Action": "greengrass:Discover", ` + onCore + `, ` + condition + `}`},
		{"an action of Greengrass on every resource", `{"Effect": "Deny", "Action": ["greengrass:*"], "Resource": "*", ` + condition + `}`},
		{"every action on a resource of Greengrass", `{"Effect": "Deny", "Action": "*", ` + onCore + `, ` + condition + `}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			document := parse(t, statements(onTopic("Allow", "topic/a"), test.statement))
			assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, publish("a")))
		})
	}
	for _, test := range []struct{ name, statement, want string }{
		{"one of the actions is AWS IoT's", `{"Effect": "Deny", "Action": ["greengrass:Discover", "iot:Publish"], "Resource": "*", ` + condition + `}`,
			`statement 1: the condition operator "DateLessThan" is not supported`},
		{"one of the resources is AWS IoT's", `{"Effect": "Deny", "Action": "*", "Resource": ["arn:aws:greengrass:us-east-1:1:a", "arn:aws:iot:us-east-1:1:topic/a"], ` + condition + `}`,
			`statement 1: the condition operator "DateLessThan" is not supported`},
		{"the condition is not an object", `{"Effect": "Deny", "Action": "greengrass:Discover", "Resource": "*", "Condition": "none"}`,
			"statement 1: the Condition must be a JSON object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := iotpolicy.Parse([]byte(statements(test.statement)))
			assert.EqualError(t, err, test.want)
		})
	}
}

// API reference, "API_CreatePolicy": 2,048 characters without white space, and
// 404,600 in all.
func TestParseBoundsTheSize(t *testing.T) {
	const empty = `{"Version":"2012-10-17","Statement":{"Sid":"","Effect":"Allow","Action":"*","Resource":"*"}}`
	sized := func(characters int) string {
		sid := strings.Repeat("é", characters-len(empty))
		return strings.Replace(empty, `"Sid":""`, `"Sid":"`+sid+`"`, 1)
	}
	full := sized(2048)
	for _, test := range []struct {
		name, document, want string
	}{
		{"as many characters as AWS IoT takes", full, ""},
		{"one more", sized(2049), "the document has 2049 characters besides white space, and AWS IoT takes 2048"},
		{"white space is not counted", strings.Repeat(" \n", 200_000) + full, ""},
		{"but bounded", strings.Repeat(" ", 404_601-2048) + full, "the document has 404601 characters, and AWS IoT takes 404600"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := iotpolicy.Parse([]byte(test.document))
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, test.want)
			}
		})
	}
}
