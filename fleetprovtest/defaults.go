package fleetprovtest

import (
	"errors"
	"maps"
	"sync"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

const (
	defaultTemplateName = "test-template"

	// defaultDevicePolicy forbids nothing: the owner of a fleet decides what its
	// devices may do.
	defaultDevicePolicy = `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`
)

// mustParsePolicy parses the policy in a field of Server.
func mustParsePolicy(field, document string) *iotpolicy.Document {
	parsed, err := iotpolicy.Parse([]byte(document))
	if err != nil {
		panic("fleetprovtest: " + field + ": " + err.Error())
	}
	return parsed
}

// simpleTemplate is the template that fields of Server describe. It does not change.
type simpleTemplate struct {
	required            []string // parameters
	deviceConfiguration map[string]string
}

// Evaluate implements [iotregistry.Template].
func (t simpleTemplate) Evaluate(parameters map[string]string) (*iottemplate.Registration, error) {
	for _, name := range t.required {
		if _, ok := parameters[name]; !ok {
			return nil, errors.New("the template requires the parameter " + name)
		}
	}
	parameters = maps.Clone(parameters)
	parameters[simpleThing] = thingName(parameters)
	registration, err := simpleBody().Evaluate(parameters)
	if err != nil {
		return nil, err
	}
	registration.DeviceConfiguration = t.deviceConfiguration
	return registration, nil
}

// simpleThing is the parameter that names the thing in the body of the simple template.
// Its name is unlikely to be one that a device sends.
const simpleThing = "fleetprovtest::Thing"

// simpleBody makes a thing, and its certificate active.
var simpleBody = sync.OnceValue(func() *iottemplate.Template {
	parsed, err := iottemplate.Parse([]byte(`{
		"Parameters": {"` + simpleThing + `": {"Type": "String"}},
		"Resources": {
			"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "` + simpleThing + `"}}},
			"certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "` + iottemplate.CertificateID + `"}}},
			"policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "` + iotregistry.DevicePolicy + `"}}
		}
	}`))
	if err != nil {
		panic("fleetprovtest: " + err.Error())
	}
	return parsed
})

// thingName returns the name that the simple template gives a thing.
func thingName(parameters map[string]string) string {
	for _, parameter := range []string{"ThingName", "SerialNumber"} {
		if name := parameters[parameter]; name != "" {
			return name
		}
	}
	return "thing-" + parameters[iottemplate.CertificateID][:16]
}
