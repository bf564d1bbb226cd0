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
	evaluated iotregistry.Usable
}

// Template returns the template of that name, or a rejection if there is none or it is
// disabled.
func (s *Service) Template(name string) (Template, *Rejection) {
	evaluated := s.registry.Template(name)
	if evaluated.Template == nil {
		return Template{}, &Rejection{StatusCode: 404, Code: "ResourceNotFoundException", Message: "Template " + name + " not found."}
	}
	if !evaluated.Settings.Enabled {
		return Template{}, badRequest("InvalidRequest", "Template "+name+" is not enabled.")
	}
	return Template{evaluated}, nil
}

// HasHook reports whether a registration with the template of that name waits for a hook.
func (s *Service) HasHook(template string) bool {
	return s.hookOf(s.registry.Template(template)) != nil
}

func (s *Service) hookOf(t iotregistry.Usable) fallibleHook {
	if target := t.Settings.Hook.TargetARN; target != "" {
		return func(request HookRequest) (HookResponse, error) { return s.settings.Account.Invoke(target, request) }
	}
	if s.settings.Hook != nil {
		return func(request HookRequest) (HookResponse, error) { return s.settings.Hook(request), nil }
	}
	return nil
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
	if rejection := s.hooks.ask(s.hookOf(t.evaluated), HookRequest{
		ClaimCertificateID: by.ClaimCertificateID,
		CertificateID:      certificate.ID,
		CertificatePEM:     CertificatePEM(certificate.X509),
		TemplateARN:        t.evaluated.ARN,
		ClientID:           by.ClientID,
	}, overridden); rejection != nil {
		return Registered{}, rejection
	}
	if role := t.evaluated.Settings.RoleARN; role != "" {
		if err := s.settings.Account.CheckRole(role); err != nil {
			return Registered{}, &Rejection{
				StatusCode: 403,
				Code:       "AccessDenied",
				Message:    "The provisioning role does not allow the provisioning.",
				Cause:      err,
			}
		}
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
