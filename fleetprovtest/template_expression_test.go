package fleetprovtest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A device sees the value of an expression in its configuration.
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
