package fleetprovtest

import (
	"errors"
	"unicode/utf8"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// registered is the answer to RegisterThing.
type registered struct {
	ThingName           string            `json:"thingName,omitempty"`
	DeviceConfiguration map[string]string `json:"deviceConfiguration,omitzero"`
}

func (s *Server) registerThing(by *session, template string, f format, payload []byte) (any, *Rejection) {
	evaluate := s.templateNamed(template)
	if evaluate == nil {
		return nil, &Rejection{StatusCode: 404, Code: "ResourceNotFoundException", Message: "Template " + template + " not found."}
	}
	members, err := f.parse(payload)
	if err != nil {
		return nil, badRequest("InvalidRequest", "The request payload could not be parsed.")
	}
	token, err := f.optionalString(members, "certificateOwnershipToken")
	if err != nil {
		return nil, badRequest("InvalidRequest", err.Error())
	}
	parameters, err := f.optionalStrings(members, "parameters")
	if err != nil {
		return nil, badRequest("InvalidParameters", err.Error())
	}
	if err := parametersError(parameters); err != nil {
		return nil, badRequest("InvalidParameters", err.Error())
	}
	c := s.redeem(token)
	if c == nil {
		return nil, badRequest("InvalidCertificateOwnershipToken", errToken.Error())
	}
	if rejection := s.askHook(by, template, c, parameters); rejection != nil {
		return nil, rejection
	}
	registration, err := evaluate(c.id, parameters)
	if err != nil {
		return nil, badRequest("InvalidParameters", err.Error())
	}
	name, err := s.apply(c, registration, parameters)
	switch {
	case errors.Is(err, errToken):
		return nil, badRequest("InvalidCertificateOwnershipToken", err.Error())
	case errors.Is(err, iottemplate.ErrConflict):
		return nil, &Rejection{StatusCode: 409, Code: "ResourceConflictsException", Message: err.Error()}
	case err != nil:
		return nil, badRequest("InvalidRequest", err.Error())
	}
	return registered{ThingName: name, DeviceConfiguration: registration.DeviceConfiguration}, nil
}

// Limits of a parameter, in characters (API_RegisterThing).
const (
	maxParameterKey   = 2048
	maxParameterValue = 4096
)

func parametersError(parameters map[string]string) error {
	for key, value := range parameters {
		if utf8.RuneCountInString(key) > maxParameterKey || utf8.RuneCountInString(value) > maxParameterValue {
			return errors.New("a parameter is too long")
		}
	}
	return nil
}

var errToken = errors.New("the certificate ownership token is not known or has expired")

// redeem returns the certificate that a token belongs to. A token is good for
// its whole lifetime, so that a lost answer can be asked for again.
func (s *Server) redeem(token string) *issued {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.expire(s.now())
	return s.registry.byToken[token]
}

// apply does to the thing and the certificate what the template says, and returns
// the name of the thing. A certificate that is registered stays as it is: its
// device asks again because it has not seen the answer.
func (s *Server) apply(c *issued, registration *iottemplate.Registration, parameters map[string]string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registry.byID[c.id] != c { // deleted while the hook was asked
		return "", errToken
	}
	if c.registered {
		return c.thingName, nil
	}
	thing, err := s.thingLocked(registration.Thing)
	if err != nil {
		return "", err
	}
	status := c.status
	if wanted := registration.Certificate; wanted != nil {
		if status, err = wanted.Override.Apply(c.status, wanted.Status); err != nil {
			return "", err
		}
	}
	if err := s.attachLocked(c, registration.Policies); err != nil {
		return "", err
	}
	if thing != nil {
		thing.Parameters = parameters
		thing.CertificateIDs = append(thing.CertificateIDs, c.id)
		s.registry.put(thing)
		c.thingName = thing.Name
	}
	c.registered, c.status = true, status
	record := c.record()
	record.Thing = thing
	s.keepLocked(record)
	return c.thingName, nil
}

// thingLocked returns what the thing is to become, or nil if the template has
// none.
func (s *Server) thingLocked(wanted *iottemplate.Thing) (*Thing, error) {
	if wanted == nil {
		return nil, nil
	}
	thing := Thing{Name: wanted.Name}
	result := *wanted
	if existing := s.registry.byName[wanted.Name]; existing != nil {
		thing = existing.clone()
		var err error
		if result, err = wanted.Override.Apply(existing.definition(), *wanted); err != nil {
			return nil, err
		}
	}
	thing.Attributes, thing.Type = result.Attributes, result.Type
	thing.Groups, thing.BillingGroup = result.Groups, result.BillingGroup
	return &thing, nil
}

func (t *Thing) definition() iottemplate.Thing {
	return iottemplate.Thing{
		Name: t.Name, Attributes: t.Attributes, Type: t.Type, Groups: t.Groups, BillingGroup: t.BillingGroup,
	}
}
