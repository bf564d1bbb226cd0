package iottemplate_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

func TestParseRefuses(t *testing.T) {
	const (
		policy        = `"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "device"}}`
		certificateId = `"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}`
	)
	section := func(text string) string { return `{"Resources": {` + policy + `}, ` + text + `}` }
	resource := func(text string) string { return `{"Resources": {"r": ` + text + `}}` }
	thing := func(properties string) string {
		return resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t", ` + properties + `}}`)
	}
	certificate := func(properties string) string {
		return resource(`{"Type": "AWS::IoT::Certificate", "Properties": {` + properties + `}}`)
	}
	configuration := func(value string) string {
		return `{"Parameters": {"A": {"Type": "String"}}, "Resources": {` + policy + `}, "DeviceConfiguration": {"x": ` + value + `}}`
	}

	for _, test := range []struct{ name, body, want string }{
		{"half a template", `{"Resources": `, "the template body cannot be decoded: unexpected end of JSON input"},
		{"nothing", ``, "the template body cannot be decoded: unexpected end of JSON input"},
		{"a second value after the template", section(`"Parameters": {}`) + `{}`, "the template body cannot be decoded: invalid character '{' after top-level value"},
		{"a resource given twice", `{"Resources": {` + policy + `, ` + policy + `}}`, `the template body cannot be decoded: "p" is given twice`},
		{"an array", `[]`, "the template body: must be a JSON object, not an array"},
		{"null", `null`, "the template body: must be a JSON object, not null"},
		{"a body of 10,241 characters", strings.Repeat(" ", 10241), "the template body has 10241 characters, more than 10240"},
		{"deep nesting", configuration(strings.Repeat("[", 33) + strings.Repeat("]", 33)), "the template body nests deeper than 32 levels"},
		{"an unknown section", section(`"Outputs": {}`), `the template body: "Outputs" is not one of Parameters, Mappings, Resources, DeviceConfiguration`},

		{"parameters in an array", section(`"Parameters": []`), "Parameters: must be a JSON object, not an array"},
		{"a parameter that is a string", section(`"Parameters": {"A": "String"}`), "Parameters.A: must be a JSON object, not a string"},
		{"a parameter of another type", section(`"Parameters": {"A": {"Type": "Number"}}`), `Parameters.A.Type: must be "String"`},
		{"a parameter without a type", section(`"Parameters": {"A": {"Default": "a"}}`), `Parameters.A.Type: must be "String"`},
		{"a default that is a number", section(`"Parameters": {"A": {"Type": "String", "Default": 1}}`), "Parameters.A.Default: must be a string, not a number"},
		{"a default that is null", section(`"Parameters": {"A": {"Type": "String", "Default": null}}`), "Parameters.A.Default: must be a string, not null"},
		{"an unknown member of a parameter", section(`"Parameters": {"A": {"Type": "String", "AllowedValues": []}}`), `Parameters.A: "AllowedValues" is not one of Type, Default`},

		{"a mapping of one level", section(`"Mappings": {"M": {"k": "v"}}`), "Mappings.M.k: must be a JSON object, not a string"},
		{"a mapping of three levels", section(`"Mappings": {"M": {"k": {"n": {"o": "v"}}}}`), "Mappings.M.k.n: must be a string, number or bool or an array of them, not an object"},
		{"a function in a mapping", section(`"Mappings": {"M": {"k": {"n": {"Ref": "A"}}}}`), "Mappings.M.k.n: must be a string, number or bool or an array of them, not an object"},
		{"null in a mapping", section(`"Mappings": {"M": {"k": {"n": [null]}}}`), "Mappings.M.k.n: must be a string, number or bool or an array of them, not an array"},
		{"mappings in a string", section(`"Mappings": "M"`), "Mappings: must be a JSON object, not a string"},
		{"a mapping in a string", section(`"Mappings": {"M": "k"}`), "Mappings.M: must be a JSON object, not a string"},

		{"no resources", `{}`, "Resources: must be a JSON object, not null"},
		{"empty resources", `{"Resources": {}}`, "Resources: no resource is declared"},
		{"a resource that is a string", resource(`"AWS::IoT::Thing"`), "Resources.r: must be a JSON object, not a string"},
		{"a resource without a type", resource(`{"Properties": {}}`), "Resources.r.Type: must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy"},
		{"a resource of an unknown type", resource(`{"Type": "AWS::IoT::ThingGroup", "Properties": {}}`), "Resources.r.Type: must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy"},
		{"an unknown member of a resource", resource(`{"Type": "AWS::IoT::Thing", "DependsOn": "p"}`), `Resources.r: "DependsOn" is not one of Type, Properties, OverrideSettings`},
		{"a resource without properties", resource(`{"Type": "AWS::IoT::Thing"}`), "Resources.r.Properties: must be a JSON object, not null"},
		{"two things", `{"Resources": {
			"a": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "a"}},
			"b": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "b"}}}}`, "Resources.b: a template can declare only one thing"},
		{"two certificates", `{"Resources": {
			"a": {"Type": "AWS::IoT::Certificate", "Properties": {` + certificateId + `}},
			"b": {"Type": "AWS::IoT::Certificate", "Properties": {` + certificateId + `}}}}`, "Resources.b: a template can declare only one certificate"},

		{"a thing without a name", resource(`{"Type": "AWS::IoT::Thing", "Properties": {}}`), "Resources.r.Properties: ThingName is missing"},
		{"an unknown property of a thing", thing(`"Name": "t"`), `Resources.r.Properties: "Name" is not one of ThingName, AttributePayload, ThingTypeName, ThingGroups, BillingGroup, PackageVersions`},
		{"a thing name that is a list", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": ["t"]}}`), "Resources.r.Properties.ThingName: must be a string, not a list"},
		{"a thing name that is bad whatever the device sends", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "a b"}}`), `Resources.r.Properties.ThingName: "a b" is not a thing name: it does not match ^[a-zA-Z0-9:_-]{1,128}$`},
		{"a thing type name that is an object", thing(`"ThingTypeName": {}`), "Resources.r.Properties.ThingTypeName: must be a string, not an object"},
		{"a billing group that is null", thing(`"BillingGroup": null`), "Resources.r.Properties.BillingGroup: must be a string, not null"},
		{"attributes in a list", thing(`"AttributePayload": ["a"]`), "Resources.r.Properties.AttributePayload: must be a JSON object, not an array"},
		{"attributes as UpdateThing takes them", thing(`"AttributePayload": {"attributes": {"a": "b"}}`), "Resources.r.Properties.AttributePayload.attributes: must be a string, not an object"},
		{"attributes from a function", thing(`"AttributePayload": {"Ref": "AWS::IoT::Certificate::Id"}`), `Resources.r.Properties.AttributePayload: must be a JSON object, not the function "Ref"`},
		{"an attribute name with a space", thing(`"AttributePayload": {"a b": "c"}`), `Resources.r.Properties.AttributePayload: "a b" is not an attribute name: it does not match ^[a-zA-Z0-9_.,@/:#-]{1,128}$`},
		{"groups in a string", thing(`"ThingGroups": "a,b"`), "Resources.r.Properties.ThingGroups: must be a list, not a string"},
		{"groups from a parameter", thing(`"ThingGroups": {"Ref": "AWS::IoT::Certificate::Id"}`), "Resources.r.Properties.ThingGroups: must be a list, not a string"},
		{"an unknown function in PackageVersions", thing(`"PackageVersions": {"Fn::Not": []}`), "Resources.r.Properties.PackageVersions.Fn::Not: there is no such function"},

		{"a certificate of no ID", certificate(``), `Resources.r.Properties.CertificateId: must be {"Ref": "AWS::IoT::Certificate::Id"}`},
		{"a certificate of another ID", certificate(`"CertificateId": "0a1b"`), `Resources.r.Properties.CertificateId: must be {"Ref": "AWS::IoT::Certificate::Id"}`},
		{"a certificate of a parameter", certificate(`"CertificateId": {"Ref": "CertificateId"}`), `Resources.r.Properties.CertificateId: must be {"Ref": "AWS::IoT::Certificate::Id"}`},
		{"a certificate signing request", certificate(`"CertificateSigningRequest": {"Ref": "CSR"}`), "Resources.r.Properties.CertificateSigningRequest: a fleet provisioning template takes only CertificateId"},
		{"a certificate in PEM", certificate(`"CertificatePem": {"Ref": "Pem"}`), "Resources.r.Properties.CertificatePem: a fleet provisioning template takes only CertificateId"},
		{"a CA certificate", certificate(certificateId + `, "CACertificatePem": {"Ref": "Pem"}`), "Resources.r.Properties.CACertificatePem: a fleet provisioning template takes only CertificateId"},
		{"an unknown property of a certificate", certificate(`"CertificateID": {"Ref": "AWS::IoT::Certificate::Id"}`), `Resources.r.Properties: "CertificateID" is not one of CertificateId, Status`},
		{"a certificate that is pending", certificate(certificateId + `, "Status": "PENDING_ACTIVATION"`), `Resources.r.Properties.Status: must be ACTIVE or INACTIVE, not "PENDING_ACTIVATION"`},
		{"an unknown principal type", certificate(certificateId + `, "ThingPrincipalType": "ONE_THING"`), `Resources.r.Properties.ThingPrincipalType: must be EXCLUSIVE_THING or NON_EXCLUSIVE_THING, not "ONE_THING"`},

		{"a policy of nothing", resource(`{"Type": "AWS::IoT::Policy", "Properties": {}}`), "Resources.r.Properties: must have either PolicyName or PolicyDocument"},
		{"a policy of name and document", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "a", "PolicyDocument": "{}"}}`), "Resources.r.Properties: must have either PolicyName or PolicyDocument"},
		{"an unknown property of a policy", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"Name": "a"}}`), `Resources.r.Properties: "Name" is not one of PolicyName, PolicyDocument`},
		{"a policy name with a space", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "a b"}}`), `Resources.r.Properties.PolicyName: "a b" is not a policy name: it does not match ^[\w+=,.@-]{1,128}$`},
		{"a policy document that is not JSON", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": "{"}}`), "Resources.r.Properties.PolicyDocument: the policy document is not a JSON object"},
		{"a policy document that is null", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": null}}`), "Resources.r.Properties.PolicyDocument: the policy document is not a JSON object"},
		{"override settings of a policy", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "a"}, "OverrideSettings": {}}`), "Resources.r.OverrideSettings: not available for policies"},

		{"override settings in a string", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}, "OverrideSettings": "MERGE"}`), "Resources.r.OverrideSettings: must be a JSON object, not a string"},
		{"an unknown override setting", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}, "OverrideSettings": {"THING_GROUPS": "MERGE"}}`), `Resources.r.OverrideSettings: "THING_GROUPS" is not one of AttributePayload, ThingTypeName, ThingGroups`},
		{"an unknown override", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}, "OverrideSettings": {"ThingGroups": "APPEND"}}`), "Resources.r.OverrideSettings.ThingGroups: must be one of [DO_NOTHING REPLACE FAIL MERGE]"},
		{"an override that is a function", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}, "OverrideSettings": {"ThingGroups": {"Ref": "A"}}}`), "Resources.r.OverrideSettings.ThingGroups: must be one of [DO_NOTHING REPLACE FAIL MERGE]"},
		{"MERGE of a thing type", resource(`{"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}, "OverrideSettings": {"ThingTypeName": "MERGE"}}`), "Resources.r.OverrideSettings.ThingTypeName: must be one of [DO_NOTHING REPLACE FAIL]"},
		{"MERGE of a status", resource(`{"Type": "AWS::IoT::Certificate", "Properties": {` + certificateId + `}, "OverrideSettings": {"Status": "MERGE"}}`), "Resources.r.OverrideSettings.Status: must be one of [DO_NOTHING REPLACE FAIL]"},

		{"a configuration in a list", section(`"DeviceConfiguration": []`), "DeviceConfiguration: must be a JSON object, not an array"},
		{"a configuration of two levels", configuration(`{"y": "z"}`), "DeviceConfiguration.x: must be a string, not an object"},
		{"a list in a configuration", configuration(`["y"]`), "DeviceConfiguration.x: must be a string, not a list"},
		{"null in a configuration", configuration(`null`), "DeviceConfiguration.x: must be a string, not null"},

		{"a function beside another name", configuration(`{"Ref": "A", "y": "z"}`), `DeviceConfiguration.x: "Ref" cannot have other members beside it`},
		{"an unknown function", configuration(`{"Fn::GetAtt": ["r", "Arn"]}`), "DeviceConfiguration.x.Fn::GetAtt: there is no such function"},
		{"a function with one colon", configuration(`{"Fn:Join": ["", []]}`), "DeviceConfiguration.x.Fn:Join: there is no such function"},
		{"a list for a string", configuration(`{"Fn::Split": ["-", "a-b"]}`), "DeviceConfiguration.x: must be a string, not a list"},
		{"Ref to what is not declared", configuration(`{"Ref": "B"}`), `DeviceConfiguration.x.Ref: the parameter "B" is not declared`},
		{"Ref to a resource", configuration(`{"Ref": "p"}`), `DeviceConfiguration.x.Ref: the parameter "p" is not declared`},
		{"Ref to a list", configuration(`{"Ref": ["A"]}`), "DeviceConfiguration.x.Ref: must be a parameter's name, not an array"},
		{"Join of one argument", configuration(`{"Fn::Join": [["a"]]}`), "DeviceConfiguration.x.Fn::Join: must be [delimiter, list]"},
		{"Join of a string", configuration(`{"Fn::Join": "a"}`), "DeviceConfiguration.x.Fn::Join: must be [delimiter, list]"},
		{"Join with a list between", configuration(`{"Fn::Join": [["a"], ["b"]]}`), "DeviceConfiguration.x.Fn::Join[0]: must be a string, not a list"},
		{"Join of a parameter", configuration(`{"Fn::Join": ["", {"Ref": "A"}]}`), "DeviceConfiguration.x.Fn::Join[1]: must be a list, not a string"},
		{"Join of what is not declared", configuration(`{"Fn::Join": ["", ["a", {"Ref": "B"}]]}`), `DeviceConfiguration.x.Fn::Join[1][1].Ref: the parameter "B" is not declared`},
		{"Sub of what is not declared", configuration(`{"Fn::Sub": "${A}${iot:ClientId}"}`), `DeviceConfiguration.x.Fn::Sub: the parameter "iot:ClientId" is not declared`},
		{"Sub of a function", configuration(`{"Fn::Sub": {"Ref": "A"}}`), "DeviceConfiguration.x.Fn::Sub: must be a string, not an object"},
		{"Sub of three arguments", configuration(`{"Fn::Sub": ["a", {}, {}]}`), "DeviceConfiguration.x.Fn::Sub: must be [string, values]"},
		{"Sub with values in a list", configuration(`{"Fn::Sub": ["a", []]}`), "DeviceConfiguration.x.Fn::Sub[1]: must be a JSON object, not an array"},
		{"Sub with a value that is a list", configuration(`{"Fn::Sub": ["${B}", {"B": []}]}`), "DeviceConfiguration.x.Fn::Sub[1].B: must be a string, not a list"},
		{"Sub with an open brace", configuration(`{"Fn::Sub": "${A"}`), "DeviceConfiguration.x.Fn::Sub: a ${ has no closing brace"},
		{"Sub without a name", configuration(`{"Fn::Sub": "${}"}`), "DeviceConfiguration.x.Fn::Sub: there is no name in ${}"},
		{"Select of one argument", configuration(`{"Fn::Select": [0]}`), "DeviceConfiguration.x.Fn::Select: must be [index, list]"},
		{"Select by a negative index", configuration(`{"Fn::Select": [-1, ["a"]]}`), `DeviceConfiguration.x.Fn::Select[0]: "-1" is not an index`},
		{"Select by a fraction", configuration(`{"Fn::Select": [0.5, ["a"]]}`), `DeviceConfiguration.x.Fn::Select[0]: "0.5" is not an index`},
		{"Select of a string", configuration(`{"Fn::Select": [0, "a"]}`), "DeviceConfiguration.x.Fn::Select[1]: must be a list, not a string"},
		{"Split of one argument", configuration(`{"Fn::Join": ["", {"Fn::Split": ["a"]}]}`), "DeviceConfiguration.x.Fn::Join[1].Fn::Split: must be [delimiter, string]"},
		{"Split at nothing", configuration(`{"Fn::Join": ["", {"Fn::Split": ["", "a"]}]}`), "DeviceConfiguration.x.Fn::Join[1].Fn::Split[0]: the delimiter is empty"},
		{"Split of a list", configuration(`{"Fn::Join": ["", {"Fn::Split": ["-", ["a"]]}]}`), "DeviceConfiguration.x.Fn::Join[1].Fn::Split[1]: must be a string, not a list"},
		{"FindInMap of two arguments", configuration(`{"Fn::FindInMap": ["M", "k"]}`), "DeviceConfiguration.x.Fn::FindInMap: must be [mapping, key, name]"},
		{"FindInMap of a mapping that is not there", configuration(`{"Fn::FindInMap": ["M", "k", "n"]}`), `DeviceConfiguration.x.Fn::FindInMap[0]: there is no mapping "M"`},
		{"FindInMap by a list", configuration(`{"Fn::FindInMap": [{"Ref": "A"}, [], "n"]}`), "DeviceConfiguration.x.Fn::FindInMap[1]: must be a string, not a list"},
		{"FindInMap of a list", configuration(`{"Fn::FindInMap": [{"Ref": "A"}, "k", []]}`), "DeviceConfiguration.x.Fn::FindInMap[2]: must be a string, not a list"},
		{"an error in a list in a policy document", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": {"Statement": [{"Resource": {"Ref": "B"}}]}}}`),
			`Resources.r.Properties.PolicyDocument.Statement[0].Resource.Ref: the parameter "B" is not declared`},
		{"a percent sign in a name", resource(`{"Type": "AWS::IoT::Policy", "Properties": {"%d": ""}}`), `Resources.r.Properties: "%d" is not one of PolicyName, PolicyDocument`},
	} {
		t.Run(test.name, func(t *testing.T) {
			template, err := iottemplate.Parse([]byte(test.body))
			assert.Nil(t, template)
			require.Error(t, err)
			assert.Regexp(t, "^"+regexp.QuoteMeta(test.want), err.Error())
		})
	}
}

func TestParseTakesWhatIsJustWithinItsLimits(t *testing.T) {
	const policy = `{"Resources": {"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "device"}}}}`
	parse(t, policy+strings.Repeat(" ", 10240-len(policy)))
	parse(t, strings.Replace(policy, "{", `{"Parameters": {"A": {"Type": "String", "Default": "`+strings.Repeat("é", 10000)+`"}}, `, 1))

	const levelsAround = 5 // the template, Resources, p, Properties, PolicyDocument
	deep := strings.Repeat("[", 32-levelsAround) + strings.Repeat("]", 32-levelsAround)
	parse(t, `{"Resources": {"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": {"x": `+deep+`}}}}}`)
	_, err := iottemplate.Parse([]byte(`{"Resources": {"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": {"x": [` + deep + `]}}}}}`))
	assert.EqualError(t, err, "the template body nests deeper than 32 levels")
}
