package fleetprovtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const certificateResource = `"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"}}}`

// minimalTemplate registers a certificate, and nothing else.
const minimalTemplate = `{"Resources":{` + certificateResource + `}}`

// thingTemplate registers a thing as well, with a parameter ThingName.
func thingTemplate(properties, overrides string) string {
	return `{"Parameters":{"ThingName":{"Type":"String"}},"Resources":{` + certificateResource + `,
		"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"ThingName"}` + properties + `},"OverrideSettings":{` + overrides + `}}}}`
}

// withTemplates adds templates, by name and body.
func withTemplates(nameAndBody ...string) func(*fleetprovtest.Server) {
	return func(s *fleetprovtest.Server) {
		for i := 0; i < len(nameAndBody); i += 2 {
			if err := s.AddTemplate(nameAndBody[i], nameAndBody[i+1]); err != nil {
				panic(err)
			}
		}
	}
}

// registers runs the exchange, and returns the answer to RegisterThing.
func (d *desk) registers(template, parameters string) string {
	d.Helper()
	c := d.claim("registering")
	issued, _ := c.createFromCSR()
	answer := c.register(template, issued.CertificateOwnershipToken, parameters)
	require.Equal(d, templateTopic(template)+"/accepted", answer.TopicName, "%s", answer.Payload)
	return string(answer.Payload)
}

// rejected runs the exchange up to a RegisterThing that is refused.
func (d *desk) rejected(template, parameters string, status int, code string) {
	d.Helper()
	c := d.claim("rejected")
	issued, _ := c.createFromCSR()
	things := d.server.Things()
	rejects(d.T, c.register(template, issued.CertificateOwnershipToken, parameters), status, code)
	assert.Equal(d, things, d.server.Things(), "nothing is registered")
	for _, certificate := range d.server.Certificates() {
		if certificate.ID == issued.CertificateID {
			assert.Equal(d, "PENDING_ACTIVATION", certificate.Status)
		}
	}
}

// A device sees what an expression comes to in its configuration.
func TestExpressionsOfTemplates(t *testing.T) {
	const functions = "provision-template: the intrinsic functions are Ref, Fn::Join, Fn::Sub, Fn::Select, Fn::Split and Fn::FindInMap"
	const declared = `"Serial":{"Type":"String"},"Site":{"Type":"String","Default":"Basel"},"AWS::IoT::Certificate::Id":{"Type":"String"}`
	body := func(expression string) string {
		return `{"Parameters":{` + declared + `},
			"Mappings":{"Region":{"Basel":{"Endpoint":"eu","Port":8883},"Bern":{"Endpoint":"eu-2"}}},
			"Resources":{` + certificateResource + `},
			"DeviceConfiguration":{"value":` + expression + `}}`
	}
	comesTo := func(name, fact, expression, parameters, value string) behaviour {
		return behaviour{name: name, fact: fact, setup: withTemplates("fleet", body(expression)), steps: func(d *desk) {
			assert.JSONEq(d, `{"deviceConfiguration":{"value":"`+value+`"}}`, d.registers("fleet", parameters))
		}}
	}
	fails := func(name, fact, expression, parameters string) behaviour {
		return behaviour{name: name, fact: fact, setup: withTemplates("fleet", body(expression)), steps: func(d *desk) {
			d.rejected("fleet", parameters, 400, "InvalidParameters")
		}}
	}
	const serial = `{"Serial":"a-b-c"}`
	walk(t, []behaviour{
		comesTo("a literal is itself", functions, `"fixed"`, serial, "fixed"),
		comesTo("Ref is the value of a parameter", functions, `{"Ref":"Serial"}`, serial, "a-b-c"),
		comesTo("a parameter that is not sent has its Default", "provision-template: a parameter may have a Default", `{"Ref":"Site"}`, serial, "Basel"),
		comesTo("a parameter that is sent has no Default", "provision-template: a parameter may have a Default", `{"Ref":"Site"}`, `{"Serial":"1","Site":"Bern"}`, "Bern"),
		fails("a parameter without a Default has to be sent", "provision-template: a parameter without a Default has to be in the request", `"fixed"`, `{"Site":"Bern"}`),
		fails("a request without parameters lacks them all", "provision-template: a parameter without a Default has to be in the request", `"fixed"`, `{}`),
		comesTo("a parameter that is not declared is ignored", "provision-template: a template uses the parameters that it declares", `{"Ref":"Serial"}`, `{"Serial":"1","Other":"2"}`, "1"),
		comesTo("Fn::Join joins", functions, `{"Fn::Join":["/",["devices",{"Ref":"Site"},{"Ref":"Serial"}]]}`, serial, "devices/Basel/a-b-c"),
		comesTo("Fn::Sub replaces parameters", functions, `{"Fn::Sub":"devices/${Site}/${Serial}"}`, serial, "devices/Basel/a-b-c"),
		comesTo("Fn::Sub replaces names of its own", functions, `{"Fn::Sub":["${Prefix}/${Serial}",{"Prefix":{"Ref":"Site"}}]}`, serial, "Basel/a-b-c"),
		comesTo("Fn::Select takes an element", functions, `{"Fn::Select":["1",["x","y","z"]]}`, serial, "y"),
		comesTo("Fn::Split splits", functions, `{"Fn::Select":["2",{"Fn::Split":["-",{"Ref":"Serial"}]}]}`, serial, "c"),
		fails("Fn::Select beyond the end fails", functions, `{"Fn::Select":["3",{"Fn::Split":["-",{"Ref":"Serial"}]}]}`, serial),
		comesTo("Fn::FindInMap looks up", functions, `{"Fn::FindInMap":["Region",{"Ref":"Site"},"Endpoint"]}`, `{"Serial":"1","Site":"Bern"}`, "eu-2"),
		comesTo("Fn::FindInMap of a number is its text", functions, `{"Fn::FindInMap":["Region","Basel","Port"]}`, serial, "8883"),
		fails("Fn::FindInMap of what is not there fails", functions, `{"Fn::FindInMap":["Region",{"Ref":"Site"},"Endpoint"]}`, `{"Serial":"1","Site":"Chur"}`),
		{
			name:  "AWS::IoT::Certificate::Id is the certificate's, whatever a device says",
			fact:  "provision-template: AWS::IoT::Certificate::Id is filled in by AWS IoT",
			setup: withTemplates("fleet", body(`{"Ref":"AWS::IoT::Certificate::Id"}`)),
			steps: func(d *desk) {
				for _, parameters := range []string{serial, `{"Serial":"1","AWS::IoT::Certificate::Id":"another"}`} {
					answer := d.registers("fleet", parameters)
					certificates := d.server.Certificates()
					assert.JSONEq(d, `{"deviceConfiguration":{"value":"`+certificates[len(certificates)-1].ID+`"}}`, answer)
				}
			},
		},
		fails("a value of more than 4096 characters is refused", "API_RegisterThing: a parameter's value has up to 4096 characters",
			`"fixed"`, `{"Serial":"`+strings.Repeat("a", 4097)+`"}`),
		comesTo("a value of 4096 characters is not", "API_RegisterThing: a parameter's value has up to 4096 characters",
			`"fixed"`, `{"Serial":"`+strings.Repeat("a", 4096)+`"}`, "fixed"),
	})
}

func TestResourcesOfTemplates(t *testing.T) {
	const overrides = "provision-template: OverrideSettings say what becomes of a resource that exists: DO_NOTHING, REPLACE, MERGE or FAIL"
	attributes := func(text string) string { return `,"AttributePayload":{` + text + `}` }
	// twice registers a thing with two templates, and then has one of those names.
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
			name:  "a policy in a template that is none is refused when it is made",
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

func TestTemplatesByName(t *testing.T) {
	walk(t, []behaviour{
		{
			name:  "a template that is not there is a 404",
			fact:  "observed: an unknown template is rejected with statusCode 404, ResourceNotFoundException",
			setup: claimPolicy(connects, publishes, subscribes, receives),
			steps: func(d *desk) { d.rejected("theirs", `{}`, 404, "ResourceNotFoundException") },
		},
		{
			name:  "a template has a name, and answers for no other",
			fact:  "fleet-provision-api: the topic of RegisterThing names the template",
			setup: withTemplates("first", thingTemplate(`,"ThingTypeName":"pump"`, ""), "second", thingTemplate(`,"ThingTypeName":"valve"`, "")),
			steps: func(d *desk) {
				d.registers("first", `{"ThingName":"a"}`)
				d.registers("second", `{"ThingName":"b"}`)
				d.registers("test-template", `{"ThingName":"c"}`)
				var types []string
				for _, thing := range d.server.Things() {
					types = append(types, thing.Type)
				}
				assert.Equal(d, []string{"pump", "valve", ""}, types)
			},
		},
		{
			name:  "a template may be replaced",
			fact:  "API_CreateProvisioningTemplateVersion: a template has versions, one of which is the default",
			setup: withTemplates("fleet", thingTemplate(`,"ThingTypeName":"pump"`, "")),
			steps: func(d *desk) {
				require.NoError(d, d.server.AddTemplate("fleet", thingTemplate(`,"ThingTypeName":"valve"`, "")))
				d.registers("fleet", `{"ThingName":"a"}`)
				assert.Equal(d, "valve", d.server.Things()[0].Type)
			},
		},
		{
			name: "a body takes the place of the server's fields",
			fact: "fleet-provision-api: the topic of RegisterThing names the template",
			setup: func(s *fleetprovtest.Server) {
				s.Template = "fleet"
				withTemplates("fleet", thingTemplate(`,"ThingTypeName":"pump"`, ""))(s)
			},
			steps: func(d *desk) {
				d.registers("fleet", `{"ThingName":"a"}`)
				assert.Equal(d, "pump", d.server.Things()[0].Type)
			},
		},
	})
}

func TestTemplatesAreChecked(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	defer server.Close()
	assert.NoError(t, server.AddTemplate(strings.Repeat("a", 36), minimalTemplate))
	for _, test := range []struct{ name, template, body string }{
		{"a name of 37 characters", strings.Repeat("a", 37), minimalTemplate},
		{"no name", "", minimalTemplate},
		{"a name with a slash", "a/b", minimalTemplate},
		{"no JSON", "fleet", "{"},
		{"no resources", "fleet", `{"Parameters":{}}`},
		{"a parameter that is not declared", "fleet", `{"Resources":{"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"ThingName"}}}}}`},
		{"a certificate that AWS has not issued", "fleet", `{"Resources":{"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateSigningRequest":{"Ref":"CSR"}}}}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Error(t, server.AddTemplate(test.template, test.body))
		})
	}
}

func readExample(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "examples", "aws", name))
	require.NoError(t, err)
	return string(content)
}

// The files that a user takes into an AWS account run here as they are.
func TestExamplesForAWS(t *testing.T) {
	const fact = "provision-wo-cert, provision-template: what the example files say is what AWS does with them"
	var hooked []hookRequest
	claimPolicy := readExample(t, "claim-policy.json")
	templates := withTemplates("fleet-template", readExample(t, "provisioning-template.json"),
		"fleet-rotation-template", readExample(t, "rotation-template.json"))
	policies := map[string]string{
		"fleet-device-policy":   readExample(t, "device-policy.json"),
		"fleet-rotation-policy": readExample(t, "rotation-policy.json"),
	}
	setup := func(s *fleetprovtest.Server) {
		hooked = nil
		s.ClaimPolicy = claimPolicy
		templates(s)
		for name, document := range policies {
			if err := s.AddPolicy(name, document); err != nil {
				panic(err)
			}
		}
		// rotation_hook.py
		s.Hook = func(r hookRequest) hookResponse {
			hooked = append(hooked, r)
			rotates := strings.HasSuffix(r.TemplateARN, "/fleet-rotation-template")
			return hookResponse{AllowProvisioning: !rotates || r.Parameters["ThingName"] == r.ClientID}
		}
	}
	walk(t, []behaviour{
		{
			name:  "a device is provisioned with the template and uses the topics of its thing",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				assert.JSONEq(d, `{"thingName":"device-1234","deviceConfiguration":{"telemetryIntervalSeconds":"60"}}`,
					d.registers("fleet-template", `{"SerialNumber":"1234"}`))
				assert.Equal(d, map[string]string{"serialNumber": "1234"}, d.server.Things()[0].Attributes)

				_, certificate := d.enrol("fleet-template", `{"SerialNumber":"5678"}`)
				d.notAuthorized(certificate, "device-1234")
				d.notAuthorized(certificate, "5678")
				c := d.connect(certificate, "device-5678")
				c.subscribe("devices/device-5678/#")
				c.publish("devices/device-5678/telemetry", "21")
				assert.Equal(d, "21", string(c.message().Payload))
				c.sendPublish(2, "devices/device-1234/telemetry", "21")
				c.closedAfter(0)
				c = d.connect(certificate, "device-5678")
				c.sendSubscribe(1, 1, "devices/device-1234/#")
				c.closedAfter(0)
			},
		},
		{
			name:  "the claim may use no other template",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.sendPublish(2, templateTopic("fleet-rotation-template"), `{}`)
				c.closedAfter(0)
			},
		},
		{
			name:  "a device renews its certificate, keeps its attributes, and can be left with the new one",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				first, certificate := d.enrol("fleet-template", `{"SerialNumber":"1234"}`)
				c := d.connect(certificate, "device-1234")
				second, renewed := c.createFromCSR()
				answer := c.register("fleet-rotation-template", second.CertificateOwnershipToken, `{"ThingName":"device-1234"}`)
				assert.JSONEq(d, `{"thingName":"device-1234"}`, string(answer.Payload))
				assert.Equal(d, first.CertificateID, hooked[1].ClaimCertificateID)
				thing := d.server.Things()[0]
				assert.Equal(d, []string{first.CertificateID, second.CertificateID}, thing.CertificateIDs)
				assert.Equal(d, map[string]string{"serialNumber": "1234"}, thing.Attributes)

				require.NoError(d, d.server.UpdateCertificate(first.CertificateID, "INACTIVE"))
				c.closedAfter(0)
				d.refused(certificate)
				again := d.connect(renewed, "device-1234")
				again.publish("devices/device-1234/telemetry", "21")
				third, _ := again.createFromCSR() // and it can renew again
				answer = again.register("fleet-rotation-template", third.CertificateOwnershipToken, `{"ThingName":"device-1234"}`)
				assert.JSONEq(d, `{"thingName":"device-1234"}`, string(answer.Payload))
			},
		},
		{
			name:  "the rotation hook keeps a device from another's thing",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				d.registers("fleet-template", `{"SerialNumber":"5678"}`)
				_, certificate := d.enrol("fleet-template", `{"SerialNumber":"1234"}`)
				c := d.connect(certificate, "device-1234")
				issued, _ := c.createFromCSR()
				rejects(d.T, c.register("fleet-rotation-template", issued.CertificateOwnershipToken, `{"ThingName":"device-5678"}`), 403, "AccessDenied")
			},
		},
	})
}
