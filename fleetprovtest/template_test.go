package fleetprovtest_test

import (
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
	c := d.claim("fleetprov-registering")
	issued, _ := c.createFromCSR()
	answer := c.register(template, issued.CertificateOwnershipToken, parameters)
	require.Equal(d, templateTopic(template)+"/accepted", answer.TopicName, "%s", answer.Payload)
	return string(answer.Payload)
}

// rejected runs the exchange up to a RegisterThing that is refused.
func (d *desk) rejected(template, parameters string, status int, code string) {
	d.Helper()
	c := d.claim("fleetprov-rejected")
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
			name: "a template that was added replaces the one that the fields describe",
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
	defer closeServer(t, server)
	assert.NoError(t, server.AddTemplate(strings.Repeat("a", 36), minimalTemplate))
	for _, test := range []struct{ name, template, body string }{
		{"a name of 37 characters", strings.Repeat("a", 37), minimalTemplate},
		{"no name", "", minimalTemplate},
		{"a name with a slash", "a/b", minimalTemplate},
		{"not JSON", "fleet", "{"},
		{"no resources", "fleet", `{"Parameters":{}}`},
		{"a parameter that is not declared", "fleet", `{"Resources":{"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"ThingName"}}}}}`},
		{"a certificate that AWS has not issued", "fleet", `{"Resources":{"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateSigningRequest":{"Ref":"CSR"}}}}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Error(t, server.AddTemplate(test.template, test.body))
		})
	}
}
