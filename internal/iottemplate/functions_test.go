package iottemplate_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// withConfiguration is a template whose DeviceConfiguration has one member, x.
func withConfiguration(value string) string {
	return `{
		"Parameters": {
			"Serial": {"Type": "String", "Default": "EU-42-b"},
			"Index": {"Type": "String", "Default": "1"},
			"Empty": {"Type": "String", "Default": ""},
			"Long": {"Type": "String", "Default": ""},
			"AWS::IoT::Certificate::Id": {"Type": "String", "Default": "0a1b"}
		},
		"Mappings": {
			"Regions": {
				"EU": {"host": "eu.example.com", "port": 8883, "tls": true, "hosts": ["a.example.com", 2]}
			}
		},
		"Resources": {"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "device"}}},
		"DeviceConfiguration": {"x": ` + value + `}
	}`
}

func TestFunctions(t *testing.T) {
	const region = `{"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "Serial"}]}]}`
	for _, test := range []struct{ name, value, want string }{
		{"a string is itself", `"plain ${Serial}"`, "plain ${Serial}"},
		{"a number is its JSON text", `1.50`, "1.50"},
		{"a large number keeps all its digits", `123456789012345678901234567890`, "123456789012345678901234567890"},
		{"a bool is its JSON text", `true`, "true"},
		{"Ref is a parameter's value", `{"Ref": "Serial"}`, "EU-42-b"},
		{"Ref of the certificate's ID", `{"Ref": "AWS::IoT::Certificate::Id"}`, "0a1b"},

		{"Join puts the delimiter between", `{"Fn::Join": ["/", ["a", {"Ref": "Serial"}, 3, false]]}`, "a/EU-42-b/3/false"},
		{"Join with an empty delimiter", `{"Fn::Join": ["", ["a", "b"]]}`, "ab"},
		{"Join of one element", `{"Fn::Join": ["/", ["a"]]}`, "a"},
		{"Join of nothing", `{"Fn::Join": ["/", []]}`, ""},
		{"Join of what Split made", `{"Fn::Join": ["_", {"Fn::Split": ["-", {"Ref": "Serial"}]}]}`, "EU_42_b"},
		{"Join with a parameter between", `{"Fn::Join": [{"Ref": "Index"}, ["a", "b"]]}`, "a1b"},
		{"Join of a mapped list", `{"Fn::Join": [" ", {"Fn::FindInMap": ["Regions", "EU", "hosts"]}]}`, "a.example.com 2"},

		{"Sub fills parameters in", `{"Fn::Sub": "device-${Serial}.${Index}"}`, "device-EU-42-b.1"},
		{"Sub fills the certificate's ID in", `{"Fn::Sub": "${AWS::IoT::Certificate::Id}"}`, "0a1b"},
		{"Sub fills a parameter in twice", `{"Fn::Sub": "${Index}${Index}"}`, "11"},
		{"Sub of a string without names", `{"Fn::Sub": "plain"}`, "plain"},
		{"Sub leaves $, { and } alone", `{"Fn::Sub": "$5 {a} $ $$ }"}`, "$5 {a} $ $$ }"},
		{"Sub keeps what is escaped", `{"Fn::Sub": "${!iot:ClientId}/${Index}"}`, "${iot:ClientId}/1"},
		{"Sub with values of its own", `{"Fn::Sub": ["${Region}-${Index}", {"Region": ` + region + `}]}`, "EU-1"},
		{"Sub prefers its own values", `{"Fn::Sub": ["${Serial}", {"Serial": "mine"}]}`, "mine"},
		{"Sub does not fill its results in again", `{"Fn::Sub": ["${A}", {"A": "${Serial}"}]}`, "${Serial}"},

		{"Select by a number", `{"Fn::Select": [1, ["a", "b"]]}`, "b"},
		{"Select by a string", `{"Fn::Select": ["0", ["a", "b"]]}`, "a"},
		{"Select by a parameter", `{"Fn::Select": [{"Ref": "Index"}, ["a", "b"]]}`, "b"},
		{"Select past null", `{"Fn::Select": [1, [null, "b"]]}`, "b"},
		{"Select of a list of lists", `{"Fn::Join": ["", {"Fn::Select": [0, [["a", "b"]]]}]}`, "ab"},

		{"Split of a string without the delimiter", `{"Fn::Select": [0, {"Fn::Split": [",", {"Ref": "Serial"}]}]}`, "EU-42-b"},
		{"Split of an empty string has one element", `{"Fn::Join": ["", ["[", {"Fn::Select": [0, {"Fn::Split": [",", {"Ref": "Empty"}]}]}, "]"]]}`, "[]"},
		{"Split at a longer delimiter", `{"Fn::Select": [1, {"Fn::Split": ["-4", {"Ref": "Serial"}]}]}`, "2-b"},

		{"FindInMap of a string", `{"Fn::FindInMap": ["Regions", "EU", "host"]}`, "eu.example.com"},
		{"FindInMap of a number", `{"Fn::FindInMap": ["Regions", "EU", "port"]}`, "8883"},
		{"FindInMap of a bool", `{"Fn::FindInMap": ["Regions", "EU", "tls"]}`, "true"},
		{"FindInMap by a function", `{"Fn::FindInMap": ["Regions", ` + region + `, "host"]}`, "eu.example.com"},
		{"FindInMap of a mapping that is put together", `{"Fn::FindInMap": [{"Fn::Join": ["", ["Reg", "ions"]]}, "EU", "host"]}`, "eu.example.com"},
		{"Select of a mapped list", `{"Fn::Select": [0, {"Fn::FindInMap": ["Regions", "EU", "hosts"]}]}`, "a.example.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := evaluate(t, withConfiguration(test.value), nil)
			assert.Equal(t, map[string]string{"x": test.want}, got.DeviceConfiguration)
		})
	}
}

func TestFunctionsWithoutResult(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"an index past the list", `{"Fn::Select": [2, ["a", "b"]]}`, `Fn::Select: the index "2" is out of range: there are 2 elements`},
		{"an index past every integer", `{"Fn::Select": ["99999999999999999999", ["a"]]}`, `Fn::Select: the index "99999999999999999999" is out of range: there are 1 elements`},
		{"an index that is not a number", `{"Fn::Select": [{"Ref": "Serial"}, ["a"]]}`, `Fn::Select[0]: "EU-42-b" is not an index`},
		{"an element that is null", `{"Fn::Select": [0, [null]]}`, "Fn::Select: element 0 is null"},
		{"an element that is a list", `{"Fn::Select": [0, [["a"]]]}`, "must be a string, not an array"},
		{"an element of a string", `{"Fn::Select": [0, {"Fn::FindInMap": ["Regions", "EU", "host"]}]}`, "Fn::Select[1]: must be a list, not a string"},
		{"a null joined", `{"Fn::Join": ["", ["a", null]]}`, "Fn::Join[1][1]: must be a string, not null"},
		{"an object joined", `{"Fn::Join": ["", [{"a": "b"}]]}`, "Fn::Join[1][0]: must be a string, not an object"},
		{"an empty delimiter", `{"Fn::Join": ["", {"Fn::Split": [{"Ref": "Empty"}, "a"]}]}`, "Fn::Join[1].Fn::Split[0]: the delimiter is empty"},
		{"an unknown mapping", `{"Fn::FindInMap": [{"Ref": "Serial"}, "EU", "host"]}`, `Fn::FindInMap[0]: there is no mapping "EU-42-b"`},
		{"an unknown key", `{"Fn::FindInMap": ["Regions", {"Ref": "Serial"}, "host"]}`, `Fn::FindInMap: the mapping "Regions" has no key "EU-42-b"`},
		{"an unknown name", `{"Fn::FindInMap": ["Regions", "EU", {"Ref": "Serial"}]}`, `Fn::FindInMap: the key "EU" of the mapping "Regions" has no "EU-42-b"`},
		{"a mapped list for a string", `{"Fn::FindInMap": ["Regions", "EU", "hosts"]}`, "must be a string, not an array"},
		{"a text over 64 kB", `{"Fn::Sub": "` + strings.Repeat("${Long}", 17) + `"}`, "Fn::Sub: the result has more than 65536 bytes"},
		{"a text that grows eightfold nine times", eightfold(9), "the result has more than 65536 bytes"},
		{"a long delimiter", `{"Fn::Join": [{"Ref": "Long"}, [` + strings.Repeat(`"",`, 17) + `""]]}`, "Fn::Join: the result has more than 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			template := parse(t, withConfiguration(test.value))
			got, err := template.Evaluate(map[string]string{"Long": strings.Repeat("x", 4096)})
			assert.Nil(t, got)
			assert.ErrorContains(t, err, "DeviceConfiguration.x")
			assert.ErrorContains(t, err, test.want)
		})
	}
}

// eightfold nests Fn::Sub, each eight times as long as the one within.
func eightfold(times int) string {
	value := `"x"`
	for range times {
		value = `{"Fn::Sub": ["` + strings.Repeat("${A}", 8) + `", {"A": ` + value + `}]}`
	}
	return value
}

func TestNamesAndLimits(t *testing.T) {
	attributes := func(n int) string {
		var members []string
		for i := range n {
			members = append(members, `"a`+strings.Repeat("x", i)+`": ""`)
		}
		return `"AttributePayload": {` + strings.Join(members, ",") + `}`
	}
	groups := func(n int) string {
		return `"ThingGroups": {"Fn::Split": [",", "` + strings.Repeat("g,", n-1) + `g"]}`
	}
	for _, test := range []struct{ name, properties, value, want string }{
		{"a thing name of every character", `"ThingName": {"Ref": "A"}`, "aZ09:_-", ""},
		{"a thing name of 128 characters", `"ThingName": {"Ref": "A"}`, strings.Repeat("a", 128), ""},
		{"a thing name of 129 characters", `"ThingName": {"Ref": "A"}`, strings.Repeat("a", 129),
			`.Properties.ThingName: "` + strings.Repeat("a", 64) + `"… is not a thing name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"an empty thing name", `"ThingName": {"Ref": "A"}`, "", `.Properties.ThingName: "" is not a thing name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a thing name with a slash", `"ThingName": {"Ref": "A"}`, "a/b", `.Properties.ThingName: "a/b" is not a thing name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a thing name with a new line", `"ThingName": {"Ref": "A"}`, "a\n", `.Properties.ThingName: "a\n" is not a thing name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a thing type name with a space", `"ThingName": "t", "ThingTypeName": {"Ref": "A"}`, "a b",
			`.Properties.ThingTypeName: "a b" is not a thing type name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a group name with a space", `"ThingName": "t", "ThingGroups": [{"Ref": "A"}]`, "a b",
			`.Properties.ThingGroups[0]: "a b" is not a thing group name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a billing group name with a space", `"ThingName": "t", "BillingGroup": {"Ref": "A"}`, "a b",
			`.Properties.BillingGroup: "a b" is not a billing group name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"an attribute value of every character", `"ThingName": "t", "AttributePayload": {"a": {"Ref": "A"}}`, "aZ09_.,@/:#=[]-", ""},
		{"an empty attribute value", `"ThingName": "t", "AttributePayload": {"a": {"Ref": "A"}}`, "", ""},
		{"an attribute value with a space", `"ThingName": "t", "AttributePayload": {"a": {"Ref": "A"}}`, "a b",
			`.Properties.AttributePayload.a: "a b" is not an attribute value: it does not match ^[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}$`},
		{"an attribute value of 801 characters", `"ThingName": "t", "AttributePayload": {"a": {"Ref": "A"}}`, strings.Repeat("a", 801),
			`.Properties.AttributePayload.a: "` + strings.Repeat("a", 64) + `"… is not an attribute value: it does not match ^[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}$`},
		{"three attributes need no thing type", `"ThingName": "t", ` + attributes(3), "", ""},
		{"four attributes need a thing type", `"ThingName": "t", ` + attributes(4), "", ": the thing has 4 attributes, more than 3, and no thing type"},
		{"50 attributes with a thing type", `"ThingName": "t", "ThingTypeName": "t", ` + attributes(50), "", ""},
		{"51 attributes with a thing type", `"ThingName": "t", "ThingTypeName": "t", ` + attributes(51), "", ": the thing has 51 attributes, more than 50"},
		{"10 groups", `"ThingName": "t", ` + groups(10), "", ""},
		{"11 groups", `"ThingName": "t", ` + groups(11), "", ": the thing is in 11 groups, more than 10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			template := parse(t, `{
				"Parameters": {"A": {"Type": "String"}},
				"Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {`+test.properties+`}}}
			}`)
			got, err := template.Evaluate(map[string]string{"A": test.value})
			if test.want == "" {
				assert.NoError(t, err)
				assert.NotNil(t, got)
				return
			}
			assert.Nil(t, got)
			assert.EqualError(t, err, "Resources.thing"+test.want)
		})
	}
}

func TestStatusAndDocumentFromParameters(t *testing.T) {
	for _, test := range []struct{ name, resource, value, want string }{
		{"a status", `{"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": {"Ref": "A"}}}`,
			"REVOKED", `Resources.r.Properties.Status: must be ACTIVE or INACTIVE, not "REVOKED"`},
		{"a policy document", `{"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": {"Ref": "A"}}}`,
			"[]", "Resources.r.Properties.PolicyDocument: the policy document is not a JSON object"},
		{"a policy name", `{"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": {"Ref": "A"}}}`,
			"a b", `Resources.r.Properties.PolicyName: "a b" is not a policy name: it does not match ^[\w+=,.@-]{1,128}$`},
	} {
		t.Run(test.name, func(t *testing.T) {
			template := parse(t, `{"Parameters": {"A": {"Type": "String"}}, "Resources": {"r": `+test.resource+`}}`)
			got, err := template.Evaluate(map[string]string{"A": test.value, iottemplate.CertificateID: certificateID})
			assert.Nil(t, got)
			assert.EqualError(t, err, test.want)
		})
	}
}
