package fleetprovtest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestResourcesOfTemplates(t *testing.T) {
	const overrides = "provision-template: OverrideSettings say what becomes of a resource that exists: DO_NOTHING, REPLACE, MERGE or FAIL"
	attributes := func(text string) string { return `,"AttributePayload":{` + text + `}` }
	// twice registers the same thing with two templates, one after the other.
	twice := func(name, first, second, override string, want fleetprovtest.Thing) behaviour {
		return behaviour{name: name, fact: overrides,
			setup: withTemplates("first", thingTemplate(first, ""), "second", thingTemplate(second, override)),
			steps: func(d *desk) {
				d.registers("first", `{"ThingName":"a"}`)
				d.registers("second", `{"ThingName":"a"}`)
				require.Len(d, d.server.Things(), 1)
				got := d.server.Things()[0]
				assert.Len(d, got.CertificateIDs, 2)
				got.CertificateIDs = nil
				want.Name, want.Parameters = "a", map[string]string{"ThingName": "a"}
				assert.Equal(d, want, got)
			},
		}
	}
	conflicts := func(name, first, second, override string) behaviour {
		return behaviour{name: name, fact: overrides,
			setup: withTemplates("first", thingTemplate(first, ""), "second", thingTemplate(second, override)),
			steps: func(d *desk) {
				d.registers("first", `{"ThingName":"a"}`)
				d.rejected("second", `{"ThingName":"a"}`, 409, "ResourceConflictsException")
			},
		}
	}
	type texts = map[string]string
	const bothPolicies = `{"Resources":{` + certificateResource + `,
		"one":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"connect"}},
		"two":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"publish"}}}}`
	const inlinePolicy = `{"Parameters":{"Serial":{"Type":"String"}},"Resources":{` + certificateResource + `,
		"policy":{"Type":"AWS::IoT::Policy","Properties":{"PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
			"Action":"iot:Connect","Resource":{"Fn::Join":["",["arn:aws:iot:us-east-1:123456789012:client/",{"Ref":"Serial"}]]}}]}}}}}`
	walk(t, []behaviour{
		{
			name: "a thing has the attributes, type and groups of the template",
			fact: "provision-template: a thing has ThingName, AttributePayload, ThingTypeName, ThingGroups and BillingGroup",
			setup: withTemplates("fleet", thingTemplate(attributes(`"serial":{"Ref":"ThingName"},"version":"v1"`)+
				`,"ThingTypeName":"pump","ThingGroups":["site-1","site-2"],"BillingGroup":"east"`, "")),
			steps: func(d *desk) {
				assert.JSONEq(d, `{"thingName":"a"}`, d.registers("fleet", `{"ThingName":"a"}`))
				assert.Equal(d, []fleetprovtest.Thing{{
					Name:           "a",
					Parameters:     texts{"ThingName": "a"},
					CertificateIDs: []string{d.server.Certificates()[0].ID},
					Attributes:     texts{"serial": "a", "version": "v1"},
					Type:           "pump",
					Groups:         []string{"site-1", "site-2"},
					BillingGroup:   "east",
				}}, d.server.Things())
			},
		},
		{
			name:  "a template need not have a thing",
			fact:  "provision-template: the resources of a template are a choice of its author's; observed: thingName may be missing",
			setup: withTemplates("fleet", minimalTemplate),
			steps: func(d *desk) {
				assert.JSONEq(d, `{}`, d.registers("fleet", `{}`))
				assert.Empty(d, d.server.Things())
				assert.Equal(d, "ACTIVE", d.server.Certificates()[0].Status)
			},
		},
		{
			name:  "a thing name that AWS does not take is refused",
			fact:  "API_CreateThing: a thing's name matches [a-zA-Z0-9:_-]+ and has up to 128 characters",
			setup: withTemplates("fleet", thingTemplate("", "")),
			steps: func(d *desk) {
				d.rejected("fleet", `{"ThingName":"a b"}`, 400, "InvalidParameters")
				d.rejected("fleet", `{"ThingName":""}`, 400, "InvalidParameters")
				d.rejected("fleet", `{"ThingName":"`+strings.Repeat("a", 129)+`"}`, 400, "InvalidParameters")
				d.registers("fleet", `{"ThingName":"`+strings.Repeat("a", 128)+`"}`)
			},
		},
		{
			name:  "each policy of the template is attached",
			fact:  "provision-template: a policy resource names a policy, which is attached to the certificate",
			setup: withTemplates("fleet", bothPolicies),
			steps: func(d *desk) {
				require.NoError(d, d.server.AddPolicy("connect", policy(connects)))
				require.NoError(d, d.server.AddPolicy("publish", policy(allow("iot:Publish", "topic/data"))))
				_, certificate := d.enrol("fleet", `{}`)
				c := d.connect(certificate, "device-1")
				c.publish("data", "")
				c.sendSubscribe(1, 1, "data")
				c.closedAfter(0)
			},
		},
		{
			name:  "a policy may be in the template, with parameters in it",
			fact:  "provision-template: a policy resource has a PolicyName or a PolicyDocument",
			setup: withTemplates("fleet", inlinePolicy),
			steps: func(d *desk) {
				_, certificate := d.enrol("fleet", `{"Serial":"device-1"}`)
				d.connect(certificate, "device-1")
				d.notAuthorized(certificate, "device-2")
			},
		},
		{
			name:  "an invalid policy in a template is refused at registration",
			fact:  "API_CreatePolicy: a malformed document is refused with status 400",
			setup: withTemplates("fleet", strings.Replace(inlinePolicy, "iot:Connect", "iot:Fly", 1)),
			steps: func(d *desk) { d.rejected("fleet", `{"Serial":"1"}`, 400, "InvalidRequest") },
		},
		{
			name:  "a certificate without a policy may do nothing",
			fact:  "iot-policies: without an allow the answer is deny",
			setup: withTemplates("fleet", minimalTemplate),
			steps: func(d *desk) {
				_, certificate := d.enrol("fleet", `{}`)
				d.notAuthorized(certificate, "device-1")
			},
		},

		twice("DO_NOTHING leaves attributes, type and groups", attributes(`"a":"1"`)+`,"ThingTypeName":"pump","ThingGroups":["x"]`,
			attributes(`"a":"2"`)+`,"ThingTypeName":"valve","ThingGroups":["y"]`,
			`"AttributePayload":"DO_NOTHING","ThingTypeName":"DO_NOTHING","ThingGroups":"DO_NOTHING"`,
			fleetprovtest.Thing{Attributes: texts{"a": "1"}, Type: "pump", Groups: []string{"x"}}),
		twice("REPLACE replaces them", attributes(`"a":"1","b":"1"`)+`,"ThingTypeName":"pump","ThingGroups":["x"]`,
			attributes(`"a":"2"`)+`,"ThingTypeName":"valve","ThingGroups":["y"]`,
			`"AttributePayload":"REPLACE","ThingTypeName":"REPLACE","ThingGroups":"REPLACE"`,
			fleetprovtest.Thing{Attributes: texts{"a": "2"}, Type: "valve", Groups: []string{"y"}}),
		twice("MERGE adds attributes and groups", attributes(`"a":"1","b":"1"`)+`,"ThingGroups":["x"]`,
			attributes(`"a":"2","c":"2"`)+`,"ThingGroups":["y"]`,
			`"AttributePayload":"MERGE","ThingGroups":"MERGE"`,
			fleetprovtest.Thing{Attributes: texts{"a": "2", "b": "1", "c": "2"}, Groups: []string{"x", "y"}}),
		conflicts("FAIL of the attributes refuses a thing that exists", attributes(`"a":"1"`), attributes(`"a":"1"`), `"AttributePayload":"FAIL"`),
		conflicts("FAIL of the type refuses a thing that exists", `,"ThingTypeName":"pump"`, `,"ThingTypeName":"pump"`, `"ThingTypeName":"FAIL"`),
		conflicts("FAIL of the groups refuses a thing that exists", `,"ThingGroups":["x"]`, `,"ThingGroups":["x"]`, `"ThingGroups":"FAIL"`),
		{
			name: "FAIL lets a first registration pass",
			fact: overrides,
			setup: withTemplates("fleet", thingTemplate(attributes(`"a":"1"`),
				`"AttributePayload":"FAIL","ThingTypeName":"FAIL","ThingGroups":"FAIL"`)),
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, _ := c.createFromCSR()
				for range 2 { // the same registration, whose answer was lost
					answer := c.register("fleet", issued.CertificateOwnershipToken, `{"ThingName":"a"}`)
					assert.JSONEq(d, `{"thingName":"a"}`, string(answer.Payload))
				}
				d.rejected("fleet", `{"ThingName":"a"}`, 409, "ResourceConflictsException")
			},
		},
	})
}
