package operator

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
)

// hook looks at the hook of a template.
func (d *doctor) hook(ctx context.Context, of *iot.DescribeProvisioningTemplateOutput) error {
	template := aws.ToString(of.TemplateName)
	if of.PreProvisioningHook == nil || aws.ToString(of.PreProvisioningHook.TargetArn) == "" {
		d.warn("run setup with -replace", "the template %s has no hook, so that whoever has a claim or a certificate of a device can get a certificate for any thing", template)
		return nil
	}
	arn := aws.ToString(of.PreProvisioningHook.TargetArn)
	name := functionOf(arn)
	found, err := d.function(ctx, arn)
	if isAbsent(err) {
		d.find(again, "there is no function %s, which is the hook of the template %s", name, template)
		return nil
	}
	if err != nil {
		if err := d.missed(err, "the function %s, which is the hook of the template %s,", name, template); err != nil {
			return err
		}
	}
	if err := d.permission(ctx, arn, template); err != nil {
		return err
	}
	if found == nil || name != d.fleet.Names.ProvisioningHook && name != d.fleet.Names.RotationHook {
		return nil // whatever it does
	}
	return d.hookRole(ctx, path.Base(aws.ToString(found.Configuration.Role)))
}

// permission looks whether AWS IoT may call the function for the template.
func (d *doctor) permission(ctx context.Context, arn, template string) error {
	may, err := d.mayCall(ctx, arn, template)
	switch {
	case err != nil && !isAbsent(err):
		return d.missed(err, "who may call the function %s", functionOf(arn))
	case !may:
		d.find(again, "AWS IoT may not call the function %s, which is the hook of the template %s", functionOf(arn), template)
	}
	return nil
}

// hookRole looks at what the hooks of this package need.
func (d *doctor) hookRole(ctx context.Context, name string) error {
	trust, err := d.roleTrust(ctx, name)
	if isAbsent(err) {
		d.find(again, "there is no role %s, which the hooks have", name)
		return nil
	}
	if err != nil {
		if err := d.missed(err, "the trust policy of the role %s", name); err != nil {
			return err
		}
	} else if !letsService(trust, lambdaService, "sts:AssumeRole", source{account: d.id}) {
		d.find("run setup with -replace", "the trust policy of the role %s does not let AWS Lambda (%s) take it", name, lambdaService)
	}
	return d.rights(ctx, name, d.fleet.Names.HookRolePolicy, []string{"AWSIoTFullAccess", "AdministratorAccess"}, map[string]string{
		"iot:ListThingPrincipals": d.arn("iot", "thing/"+d.fleet.thingOf(anySerialNumber)),
		"iot:DescribeCertificate": d.certificateARN("0"),
	})
}

// functionOf returns the name in the ARN of a function, which may end in a version.
func functionOf(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) < 7 {
		return arn
	}
	return parts[6]
}

// serialNumber looks whether a device may register. given is "" if no particular one is
// meant.
func (d *doctor) serialNumber(ctx context.Context, given string) error {
	function := d.fleet.Names.ProvisioningHook
	deployed, err := d.hookArchive(ctx, function)
	if isAbsent(err) {
		return nil // which was found already, if it matters
	}
	if err != nil {
		return d.missed(err, "the list of the function %s", function)
	}
	if _, ok := deployed[listFile]; !ok {
		return nil // a hook of another kind, whatever it does
	}
	list := listIn(deployed)
	switch {
	case len(list) == 0:
		d.find("add the serial numbers of your devices: serials add", "the list of the function %s is empty, so that no device may register", function)
	case given != "" && !slices.Contains(list, given):
		d.find("serials add "+given, "the serial number %s is not on the list of the function %s", given, function)
	}
	return nil
}
