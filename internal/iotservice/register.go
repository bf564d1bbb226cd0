package iotservice

import (
	"errors"
	"maps"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// Caller is who asks for a registration.
type Caller struct {
	ClaimCertificateID string // of the certificate that the device has connected with
	ClientID           string
}

// Template is a provisioning template, for [Service.Register].
type Template struct {
	name      string
	evaluated iotregistry.Template
}

// Template returns the template of that name, or a rejection if there is none.
func (s *Service) Template(name string) (Template, *Rejection) {
	evaluated := s.registry.Template(name)
	if evaluated == nil {
		return Template{}, &Rejection{StatusCode: 404, Code: "ResourceNotFoundException", Message: "Template " + name + " not found."}
	}
	return Template{name, evaluated}, nil
}

// Registered is what a device learns of its registration.
type Registered struct {
	ThingName     string            // "" if the template has no thing
	Configuration map[string]string // the template's DeviceConfiguration; nil if it has none
}

// Register registers the device that shows an ownership token (RegisterThing). It first
// asks the hook, which may take up to five seconds and may change parameters.
func (s *Service) Register(by Caller, t Template, token string, parameters map[string]string) (Registered, *Rejection) {
	certificate, err := s.registry.Redeem(token)
	if err != nil {
		return Registered{}, badRequest("InvalidCertificateOwnershipToken", err.Error())
	}
	overridden := make(map[string]string)
	maps.Copy(overridden, parameters)
	if rejection := s.hook.ask(HookRequest{
		ClaimCertificateID: by.ClaimCertificateID,
		CertificateID:      certificate.ID,
		CertificatePEM:     CertificatePEM(certificate.X509),
		TemplateARN:        iotregistry.ARN + "provisioningtemplate/" + t.name,
		ClientID:           by.ClientID,
	}, overridden); rejection != nil {
		return Registered{}, rejection
	}
	wanted, err := t.evaluate(certificate.ID, overridden)
	if err != nil {
		return Registered{}, badRequest("InvalidParameters", err.Error())
	}
	thing, err := s.registry.Register(certificate.ID, wanted, overridden)
	switch {
	case errors.Is(err, iotregistry.ErrToken):
		return Registered{}, badRequest("InvalidCertificateOwnershipToken", err.Error())
	case errors.Is(err, iottemplate.ErrConflict):
		return Registered{}, &Rejection{StatusCode: 409, Code: "ResourceConflictsException", Message: err.Error()}
	case err != nil:
		return Registered{}, badRequest("InvalidRequest", err.Error())
	}
	return Registered{ThingName: thing, Configuration: wanted.DeviceConfiguration}, nil
}

// evaluate puts the parameters into the template. The certificate's id is among them,
// whatever the device has sent under that name.
func (t Template) evaluate(certificateID string, parameters map[string]string) (*iottemplate.Registration, error) {
	parameters = maps.Clone(parameters)
	parameters[iottemplate.CertificateID] = certificateID
	return t.evaluated.Evaluate(parameters)
}
