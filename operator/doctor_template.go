package operator

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// provisioning looks at the template that new devices register with.
func (d *doctor) provisioning(ctx context.Context) error {
	registered, err := d.template(ctx, d.fleet.Names.Template, d.sent)
	if registered == nil || err != nil {
		return err
	}
	if registered.Thing != nil {
		d.thing = registered.Thing.Name
	}
	for _, policy := range registered.Policies {
		if policy.Document == "" {
			d.policies = append(d.policies, policy.Name)
		} else {
			d.inline = append(d.inline, policy.Document)
		}
	}
	return d.device(ctx)
}

// renewal looks at the template that devices renew their certificates with.
func (d *doctor) renewal(ctx context.Context) error {
	if d.fleet.NoRenewal {
		return nil
	}
	thing := d.thing
	if thing == "" {
		thing = d.fleet.thingOf(anySerialNumber)
	}
	name := d.fleet.Names.RotationTemplate
	if _, err := d.template(ctx, name, map[string]string{"ThingName": thing}); err != nil {
		return err
	}
	if d.thing == "" || len(d.devicePolicies()) == 0 {
		return nil
	}
	documents, complete, err := d.deviceDocuments(ctx)
	if err != nil || !complete {
		return err
	}
	d.exchange(caller{"a device that renews", d.devicePolicies(), documents, d.thing, d.variables()}, name)
	return nil
}

// template looks at a template, its role and hook, and returns what becomes of a device that
// sends these parameters: nil if nothing does.
func (d *doctor) template(ctx context.Context, name string, sent map[string]string) (*iottemplate.Registration, error) {
	found, err := d.describe(ctx, name)
	if isAbsent(err) {
		d.find("run setup, or check -name and the region", "there is no template %s in %s", name, d.region)
		return nil, nil
	}
	if err != nil {
		return nil, d.missed(err, "the template %s", name)
	}
	if !aws.ToBool(found.Enabled) {
		d.find("run setup with -replace", "the template %s is disabled", name)
	}
	if err := d.role(ctx, name, aws.ToString(found.ProvisioningRoleArn)); err != nil {
		return nil, err
	}
	if err := d.hook(ctx, found); err != nil {
		return nil, err
	}
	return d.evaluate(found, sent), nil
}

func (d *doctor) evaluate(found *iot.DescribeProvisioningTemplateOutput, sent map[string]string) *iottemplate.Registration {
	name := aws.ToString(found.TemplateName)
	body, err := iottemplate.Parse([]byte(aws.ToString(found.TemplateBody)))
	if err != nil {
		d.find("correct the template", "the template %s: %v", name, err)
		return nil
	}
	parameters := map[string]string{iottemplate.CertificateID: strings.Repeat("0", 64)}
	for key, value := range sent {
		parameters[key] = value
	}
	registered, err := body.Evaluate(parameters)
	if err != nil {
		advice := "correct the template, or what the device sends"
		if errors.Is(err, iottemplate.ErrMissing) {
			advice = "let the devices send it, or give it a default"
		}
		d.find(advice, "a device that sends %s cannot register with the template %s: %v", parameterList(sent), name, err)
		return nil
	}
	if registered.Thing == nil {
		d.find("add a thing to it", "the template %s registers no thing", name)
	}
	if registered.Certificate == nil || registered.Certificate.Status != "ACTIVE" {
		d.find("give the certificate in it the Status ACTIVE", "the template %s leaves the certificate inactive", name)
	}
	if len(registered.Policies) == 0 {
		d.find("add a policy to it", "the template %s gives a device no policy", name)
	}
	return registered
}
