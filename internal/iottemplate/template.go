// Package iottemplate parses and evaluates AWS IoT provisioning templates, as
// AWS describes them for fleet provisioning (provision-template).
//
// [Parse] finds what is wrong with a template itself, [Template.Evaluate] what
// is wrong with a device's parameters. Both name the place in the template, as
// in "Resources.thing.Properties.ThingName: …". Carrying out a [Registration] is
// left to the caller; [ThingOverride.Apply] says what becomes of a thing that is already
// registered.
//
// AWS documents what a template looks like, but not all that it refuses. Where its page
// is silent, this package refuses what AWS could not make sense of.
package iottemplate

import (
	"fmt"
	"unicode/utf8"
)

// maxBody is the length of a template body in characters
// (API_CreateProvisioningTemplate).
const maxBody = 10240

// Template is a parsed template body. It does not change, and may be used by
// several goroutines at once.
type Template struct {
	parameters          map[string]parameter
	resources           resources
	deviceConfiguration map[string]text // nil if the template has none
}

// Parse reads a template body of at most 10,240 characters. It refuses what is not
// JSON, members given twice, unknown sections, resource types, properties and functions;
// references to parameters and mappings that are not declared; values of the
// wrong kind; more than one thing or certificate; and a certificate that is not
// the one AWS issued, since only certificate IDs can be used with a fleet
// provisioning template (provision-template).
func Parse(body []byte) (*Template, error) {
	if n := utf8.RuneCount(body); n > maxBody {
		return nil, fmt.Errorf("the template body has %d characters, more than %d", n, maxBody)
	}
	document, err := decode(body)
	if err != nil {
		return nil, err
	}
	sections, err := members("the template body", document, "Parameters", "Mappings", "Resources", "DeviceConfiguration")
	if err != nil {
		return nil, err
	}
	t := &Template{}
	if t.parameters, err = parseParameters(sections["Parameters"]); err != nil {
		return nil, err
	}
	p := parser{parameters: t.parameters}
	if p.mappings, err = parseMappings(sections["Mappings"]); err != nil {
		return nil, err
	}
	if t.resources, err = p.resources(sections["Resources"]); err != nil {
		return nil, err
	}
	if configuration, ok := sections["DeviceConfiguration"]; ok {
		if t.deviceConfiguration, err = p.texts("DeviceConfiguration", configuration, anyText); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Registration is what a template asks for, for one device.
type Registration struct {
	Thing               *Thing       // nil if the template declares none
	Certificate         *Certificate // nil if the template declares none
	Policies            []Policy     // in the order of their logical names
	DeviceConfiguration map[string]string
}

// Evaluate fills the parameters of one device into the template. The
// caller adds the certificate's ID, as [CertificateID], whatever the device has sent
// under that name. Parameters that the template does not declare are ignored.
//
// It fails where RegisterThing does: a missing parameter that has no
// default, parameters over AWS's limits (2,048 characters for a name, 4,096 for
// a value), a function without a result, and names and attributes that AWS does
// not take.
func (t *Template) Evaluate(parameters map[string]string) (*Registration, error) {
	v, err := t.values(parameters)
	if err != nil {
		return nil, err
	}
	r := &Registration{}
	if t.resources.thing != nil {
		if r.Thing, err = t.resources.thing.evaluate(v); err != nil {
			return nil, err
		}
	}
	if t.resources.certificate != nil {
		if r.Certificate, err = t.resources.certificate.evaluate(v); err != nil {
			return nil, err
		}
	}
	for _, declared := range t.resources.policies {
		policy, err := declared.evaluate(v)
		if err != nil {
			return nil, err
		}
		r.Policies = append(r.Policies, policy)
	}
	if t.deviceConfiguration != nil {
		if r.DeviceConfiguration, err = evaluateTexts(t.deviceConfiguration, v); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// at returns an error that begins with its place in the template.
func at(place, format string, arguments ...any) error {
	return fmt.Errorf("%s: %w", place, fmt.Errorf(format, arguments...))
}
