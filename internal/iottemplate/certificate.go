package iottemplate

import (
	"fmt"
	"strings"
)

// Certificate says what becomes of the certificate that AWS issued.
type Certificate struct {
	Status string // "ACTIVE", the default, or "INACTIVE"

	// ExclusiveThing attaches the certificate to its thing exclusively
	// (API_AttachThingPrincipal, thingPrincipalType).
	ExclusiveThing bool

	// Override says what becomes of a certificate that already has a status.
	Override CertificateOverride
}

type certificateResource struct {
	status        *text
	principalType *text
	override      CertificateOverride
}

func (p parser) certificate(place string, properties, overrides any) (*certificateResource, error) {
	c := &certificateResource{}
	override, err := parseCertificateOverride(place+".OverrideSettings", overrides)
	if err != nil {
		return nil, err
	}
	c.override = override
	place += ".Properties"
	given, err := members(place, properties, "CertificateId", "Status", "ThingPrincipalType",
		"CertificateSigningRequest", "CertificatePem", "CACertificatePem")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"CertificateSigningRequest", "CertificatePem", "CACertificatePem"} {
		if _, ok := given[name]; ok {
			return nil, at(place+"."+name, "a fleet provisioning template takes only CertificateId")
		}
	}
	if id, ok := given["CertificateId"].(map[string]any); !ok || len(id) != 1 || id["Ref"] != CertificateID {
		return nil, at(place+".CertificateId", `must be {"Ref": %q}`, CertificateID)
	}
	if c.status, err = p.optional(place, given, "Status", isStatus); err != nil {
		return nil, err
	}
	c.principalType, err = p.optional(place, given, "ThingPrincipalType", isPrincipalType)
	return c, err
}

// isStatus ignores case: AWS's own example says Active where its text says
// ACTIVE.
func isStatus(status string) error {
	switch strings.ToUpper(status) {
	case "ACTIVE", "INACTIVE":
		return nil
	}
	return fmt.Errorf("must be ACTIVE or INACTIVE, not %s", quoted(status))
}

const exclusiveThing = "EXCLUSIVE_THING"

func isPrincipalType(text string) error {
	switch text {
	case exclusiveThing, "NON_EXCLUSIVE_THING":
		return nil
	}
	return fmt.Errorf("must be EXCLUSIVE_THING or NON_EXCLUSIVE_THING, not %s", quoted(text))
}

func (c *certificateResource) evaluate(v values) (*Certificate, error) {
	status := "ACTIVE"
	if c.status != nil {
		given, err := c.status.evaluate(v)
		if err != nil {
			return nil, err
		}
		status = strings.ToUpper(given)
	}
	principalType, err := c.principalType.orEmpty(v)
	if err != nil {
		return nil, err
	}
	return &Certificate{Status: status, ExclusiveThing: principalType == exclusiveThing, Override: c.override}, nil
}
