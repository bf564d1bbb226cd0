package fleetprovtest

import (
	"crypto/x509"
	"maps"
	"time"
)

// tokenLifetime is how long a certificate waits for its registration
// (provision-wo-cert).
const tokenLifetime = time.Hour

// registered is the answer to RegisterThing.
type registered struct {
	ThingName           string            `json:"thingName"`
	DeviceConfiguration map[string]string `json:"deviceConfiguration,omitzero"`
}

// caller is who asks.
type caller struct {
	clientID    string
	certificate *x509.Certificate
}

func (s *Server) registerThing(by caller, template string, f format, payload []byte) (any, *Rejection) {
	if template != s.template() {
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
		return nil, badRequest("InvalidCertificateOwnershipToken", "The certificate ownership token is not known or has expired.")
	}
	if rejection := s.askHook(by, c.certificate, parameters); rejection != nil {
		return nil, rejection
	}
	for _, name := range s.Parameters {
		if _, ok := parameters[name]; !ok {
			return nil, badRequest("InvalidParameters", "The template requires the parameter "+name+".")
		}
	}
	return registered{
		ThingName:           s.activate(c, parameters),
		DeviceConfiguration: s.DeviceConfiguration,
	}, nil
}

// redeem returns the certificate that a token belongs to. A token is good for
// its whole lifetime, so that a lost answer can be asked for again.
func (s *Server) redeem(token string) *issued {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.certificates {
		if c.token == token && time.Since(c.issuedAt) < tokenLifetime {
			return c
		}
	}
	return nil
}

// askHook merges the hook's overrides into parameters.
func (s *Server) askHook(by caller, certificate *x509.Certificate, parameters map[string]string) *Rejection {
	if s.Hook == nil {
		return nil
	}
	response := s.Hook(HookRequest{
		ClaimCertificateID: certificateID(by.certificate),
		CertificateID:      certificateID(certificate),
		CertificatePEM:     certificatePEM(certificate),
		TemplateARN:        s.templateARN(),
		ClientID:           by.clientID,
		Parameters:         maps.Clone(parameters),
	})
	if !response.AllowProvisioning {
		return &Rejection{StatusCode: 403, Code: "AccessDenied", Message: "Pre-provisioning hook did not allow the provisioning."}
	}
	maps.Copy(parameters, response.ParameterOverrides)
	return nil
}

// activate returns the name of the thing that the certificate now belongs to. A
// certificate that has one keeps it.
func (s *Server) activate(c *issued, parameters map[string]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.thingName == "" {
		c.thingName = thingName(c.id(), parameters)
		thing := s.thingLocked(c.thingName)
		thing.Parameters = parameters
		thing.CertificateIDs = append(thing.CertificateIDs, c.id())
	}
	return c.thingName
}

// thingLocked returns the thing with a name, a new one if there is none.
func (s *Server) thingLocked(name string) *Thing {
	for _, t := range s.things {
		if t.Name == name {
			return t
		}
	}
	t := &Thing{Name: name}
	s.things = append(s.things, t)
	return t
}

func thingName(certificateID string, parameters map[string]string) string {
	for _, parameter := range []string{"ThingName", "SerialNumber"} {
		if name := parameters[parameter]; name != "" {
			return name
		}
	}
	return "thing-" + certificateID[:16]
}
