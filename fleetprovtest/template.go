package fleetprovtest

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// AddTemplate adds a provisioning template with a body as AWS IoT takes it, or
// replaces the one with that name (provision-template). The name is 1 to 36
// letters, digits, hyphens and underscores. It fails if AWS would refuse the name or
// the body. It may be called at any time.
//
// A policy that the body names is one that [Server.AddPolicy] has added; if it was
// not, [Server.DevicePolicy] takes its place.
func (s *Server) AddTemplate(name, body string) error {
	if !templateName.MatchString(name) {
		return fmt.Errorf("fleetprovtest: %q cannot be the name of a template", name)
	}
	parsed, err := iottemplate.Parse([]byte(body))
	if err != nil {
		return fmt.Errorf("fleetprovtest: template %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, replaced := s.templates[name]
	s.templates[name] = parsed
	if started := s.policies.device != nil; started && s.ClaimPolicy == "" && !replaced {
		s.allowTemplateLocked(name)
	}
	return nil
}

// evaluation returns what a template makes of a device's parameters.
type evaluation func(certificateID string, parameters map[string]string) (*iottemplate.Registration, error)

// templateNamed returns nil if there is no such template.
func (s *Server) templateNamed(name string) evaluation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.templates[name]; t != nil {
		return func(certificateID string, parameters map[string]string) (*iottemplate.Registration, error) {
			parameters = maps.Clone(parameters)
			parameters[iottemplate.CertificateID] = certificateID // not the device's to say
			return t.Evaluate(parameters)
		}
	}
	if name == s.template() {
		return s.evaluateSimple
	}
	return nil
}

// evaluateSimple evaluates the template that the fields of the Server describe.
func (s *Server) evaluateSimple(certificateID string, parameters map[string]string) (*iottemplate.Registration, error) {
	for _, name := range s.Parameters {
		if _, ok := parameters[name]; !ok {
			return nil, errors.New("the template requires the parameter " + name)
		}
	}
	parameters = maps.Clone(parameters)
	parameters[simpleThing] = thingName(certificateID, parameters)
	registration, err := simpleTemplate().Evaluate(parameters)
	if err != nil {
		return nil, err
	}
	registration.DeviceConfiguration = s.DeviceConfiguration
	return registration, nil
}

// simpleThing is the parameter that names the thing in the simple template. No
// template of AWS has one of that name.
const simpleThing = "fleetprovtest::Thing"

// simpleTemplate makes a thing, and its certificate active.
var simpleTemplate = sync.OnceValue(func() *iottemplate.Template {
	parsed, err := iottemplate.Parse([]byte(`{
		"Parameters": {"` + simpleThing + `": {"Type": "String"}},
		"Resources": {
			"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "` + simpleThing + `"}}},
			"certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "` + iottemplate.CertificateID + `"}}},
			"policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "` + devicePolicyName + `"}}
		}
	}`))
	if err != nil {
		panic("fleetprovtest: " + err.Error())
	}
	return parsed
})

func thingName(certificateID string, parameters map[string]string) string {
	for _, parameter := range []string{"ThingName", "SerialNumber"} {
		if name := parameters[parameter]; name != "" {
			return name
		}
	}
	return "thing-" + certificateID[:16]
}

// template returns the name of the template that the fields describe.
func (s *Server) template() string {
	if s.Template == "" {
		return "test-template"
	}
	return s.Template
}
