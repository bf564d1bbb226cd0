package iottemplate

import (
	"errors"
	"unicode/utf8"
)

// CertificateID is the parameter that AWS itself sets to the ID of the certificate it
// has issued. A template may refer to it without declaring it
// (provision-template).
const CertificateID = "AWS::IoT::Certificate::Id"

// The lengths of a parameter, in characters (API_RegisterThing).
const (
	maxParameterName  = 2048
	maxParameterValue = 4096
)

type parameter struct {
	fallback *string // nil: the device must send it
}

func parseParameters(section any) (map[string]parameter, error) {
	parameters := map[string]parameter{}
	if section == nil {
		return parameters, nil
	}
	declared, err := members("Parameters", section)
	if err != nil {
		return nil, err
	}
	for _, name := range sorted(declared) {
		place := "Parameters." + name
		declaration, err := members(place, declared[name], "Type", "Default")
		if err != nil {
			return nil, err
		}
		if declaration["Type"] != "String" {
			return nil, at(place+".Type", `must be "String"`)
		}
		var p parameter
		if value, ok := declaration["Default"]; ok {
			fallback, ok := value.(string)
			if !ok {
				return nil, at(place+".Default", "must be a string, not %s", describe(value))
			}
			p.fallback = &fallback
		}
		parameters[name] = p
	}
	return parameters, nil
}

// ErrMissing means that a parameter was not sent, and the template has no default for it.
var ErrMissing = errors.New("the parameter is missing and has no default")

// values are the values of all declared parameters, and of [CertificateID].
type values map[string]string

func (t *Template) values(sent map[string]string) (values, error) {
	v := values{}
	for _, name := range sorted(sent) {
		if utf8.RuneCountInString(name) > maxParameterName {
			return nil, at("Parameters", "the name %s has more than %d characters", quoted(name), maxParameterName)
		}
		if utf8.RuneCountInString(sent[name]) > maxParameterValue {
			return nil, at("Parameters", "the value of %s has more than %d characters", quoted(name), maxParameterValue)
		}
	}
	if id, ok := sent[CertificateID]; ok {
		v[CertificateID] = id
	}
	for _, name := range sorted(t.parameters) {
		value, ok := sent[name]
		if fallback := t.parameters[name].fallback; !ok && fallback != nil {
			value, ok = *fallback, true
		}
		if !ok {
			return nil, at("Parameters."+name, "%w", ErrMissing)
		}
		v[name] = value
	}
	return v, nil
}

// of returns a parameter's value. Only [CertificateID] can be missing here.
func (v values) of(place, name string) (string, error) {
	value, ok := v[name]
	if !ok {
		return "", at(place, "the parameter %s is missing", quoted(name))
	}
	return value, nil
}
