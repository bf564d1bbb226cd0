package fleetprovtest

import (
	"errors"

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
