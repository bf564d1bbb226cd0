package controlplane

import (
	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// hookVersion is the version of what a hook is sent when nobody has named one
// (API_ProvisioningHook).
const hookVersion = "2020-04-01"

func hookOf(v values) iotregistry.Hook {
	version := v.text("payloadVersion")
	if version == "" {
		version = hookVersion
	}
	return iotregistry.Hook{TargetARN: v.text("targetArn"), PayloadVersion: version}
}

func hookOutput(h iotregistry.Hook) output {
	return output{"targetArn": h.TargetARN, "payloadVersion": h.PayloadVersion}
}

func (p *plane) createTemplate(in input) (output, error) {
	if in.text("type") == "JITP" {
		return nil, fail("InvalidRequestException", "Templates of the type JITP are not served here.")
	}
	settings := iotregistry.TemplateSettings{
		Description: in.text("description"),
		Enabled:     in.flag("enabled"),
		RoleARN:     in.text("provisioningRoleArn"),
	}
	if in.given("preProvisioningHook") {
		settings.Hook = hookOf(in.object("preProvisioningHook"))
	}
	if err := p.checkSettings(settings); err != nil {
		return nil, err
	}
	name := in.text("templateName")
	t, err := p.account.Registry.CreateTemplate(name, in.arn("iot", "provisioningtemplate/"+name), in.text("templateBody"), settings)
	if err != nil {
		return nil, err
	}
	return output{"templateArn": t.ARN, "templateName": t.Name, "defaultVersionId": t.Default}, nil
}

// checkSettings fails if AWS IoT cannot take the role, or if there is no such function.
func (p *plane) checkSettings(s iotregistry.TemplateSettings) error {
	if s.RoleARN != "" {
		if _, err := p.roles.assume(s.RoleARN, "iot.amazonaws.com"); err != nil {
			return fail("InvalidRequestException", "Not able to assume role %s: %v", s.RoleARN, err)
		}
	}
	if s.Hook.TargetARN != "" {
		if _, err := p.functions.byARN(s.Hook.TargetARN); err != nil {
			return fail("InvalidRequestException", "The target of the pre-provisioning hook cannot be used: %v", err)
		}
	}
	return nil
}

func (p *plane) describeTemplate(in input) (output, error) {
	t, err := p.account.Registry.ProvisioningTemplate(in.text("templateName"))
	if err != nil {
		return nil, err
	}
	v, err := t.Version(t.Default)
	if err != nil {
		return nil, err
	}
	answer := templateOutput(t)
	answer["defaultVersionId"] = t.Default
	answer["templateBody"] = v.Body
	answer["provisioningRoleArn"] = t.RoleARN
	if t.Hook.TargetARN != "" {
		answer["preProvisioningHook"] = hookOutput(t.Hook)
	}
	return answer, nil
}

// templateOutput is a template in a list.
func templateOutput(t iotregistry.ProvisioningTemplate) output {
	return output{
		"templateArn":      t.ARN,
		"templateName":     t.Name,
		"description":      t.Description,
		"creationDate":     epoch(t.CreatedAt),
		"lastModifiedDate": epoch(t.ModifiedAt),
		"enabled":          t.Enabled,
		"type":             "FLEET_PROVISIONING",
	}
}

func (p *plane) listTemplates(in input) (output, error) {
	var all []entry
	for _, t := range p.account.Registry.ProvisioningTemplates() {
		all = append(all, entry{t.Name, templateOutput(t)})
	}
	return list(in, "templates", all, "maxResults", "nextToken", "nextToken")
}

func (p *plane) updateTemplate(in input) (output, error) {
	if in.given("preProvisioningHook") && in.flag("removePreProvisioningHook") {
		return nil, fail("InvalidRequestException", "A pre-provisioning hook cannot be set and removed at once.")
	}
	change := func(s *iotregistry.TemplateSettings) {
		if in.given("description") {
			s.Description = in.text("description")
		}
		if in.given("enabled") {
			s.Enabled = in.flag("enabled")
		}
		if in.given("provisioningRoleArn") {
			s.RoleARN = in.text("provisioningRoleArn")
		}
		if in.flag("removePreProvisioningHook") {
			s.Hook = iotregistry.Hook{}
		}
		if in.given("preProvisioningHook") {
			s.Hook = hookOf(in.object("preProvisioningHook"))
		}
	}
	var wanted iotregistry.TemplateSettings // what is new
	change(&wanted)
	if err := p.checkSettings(wanted); err != nil {
		return nil, err
	}
	return output{}, p.account.Registry.ChangeTemplate(in.text("templateName"), in.number("defaultVersionId"), change)
}

func (p *plane) deleteTemplate(in input) (output, error) {
	return output{}, p.account.Registry.DeleteTemplate(in.text("templateName"))
}

func (p *plane) createTemplateVersion(in input) (output, error) {
	name := in.text("templateName")
	v, err := p.account.Registry.CreateTemplateVersion(name, in.text("templateBody"), in.flag("setAsDefault"))
	if err != nil {
		return nil, err
	}
	return output{
		"templateArn":      in.arn("iot", "provisioningtemplate/"+name),
		"templateName":     name,
		"versionId":        v.ID,
		"isDefaultVersion": in.flag("setAsDefault"),
	}, nil
}

func versionOutput(t iotregistry.ProvisioningTemplate, v iotregistry.TemplateVersion) output {
	return output{"versionId": v.ID, "creationDate": epoch(v.CreatedAt), "isDefaultVersion": v.ID == t.Default}
}

func (p *plane) describeTemplateVersion(in input) (output, error) {
	t, err := p.account.Registry.ProvisioningTemplate(in.text("templateName"))
	if err != nil {
		return nil, err
	}
	v, err := t.Version(in.number("versionId"))
	if err != nil {
		return nil, err
	}
	answer := versionOutput(t, v)
	answer["templateBody"] = v.Body
	return answer, nil
}

func (p *plane) listTemplateVersions(in input) (output, error) {
	t, err := p.account.Registry.ProvisioningTemplate(in.text("templateName"))
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, v := range t.Versions {
		all = append(all, entry{sortable(v.ID), versionOutput(t, v)})
	}
	return list(in, "versions", all, "maxResults", "nextToken", "nextToken")
}

func (p *plane) deleteTemplateVersion(in input) (output, error) {
	return output{}, p.account.Registry.DeleteTemplateVersion(in.text("templateName"), in.number("versionId"))
}

func (p *plane) createClaim(in input) (output, error) {
	claim, err := p.account.Service.MakeClaim(in.text("templateName"), p.account.Now())
	if err != nil {
		return nil, err
	}
	return output{
		"certificateId":  claim.ID,
		"certificatePem": claim.CertificatePEM,
		"keyPair":        output{"PublicKey": claim.PublicKeyPEM, "PrivateKey": claim.PrivateKeyPEM},
		"expiration":     epoch(claim.Certificate.NotAfter),
	}, nil
}
