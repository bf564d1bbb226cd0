package operator

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// registering are policies of AWS that let AWS IoT register things.
var registering = []string{"AWSIoTThingsRegistration", "AWSIoTFullAccess", "AdministratorAccess"}

// unrelated are policies of AWS that setup attaches, and that allow nothing in AWS IoT.
var unrelated = []string{"AWSLambdaBasicExecutionRole"}

// role looks at the role of a template.
func (d *doctor) role(ctx context.Context, template, arn string) error {
	name := path.Base(arn)
	trust, err := d.roleTrust(ctx, name)
	if isAbsent(err) {
		d.find(again, "there is no role %s, which the template %s names", arn, template)
		return nil
	}
	if err != nil {
		if err := d.missed(err, "the trust policy of the role %s", name); err != nil {
			return err
		}
	} else if !letsService(trust, iotService, "sts:AssumeRole", source{d.id, d.templateARN(template)}) {
		d.find("run setup with -replace", "the trust policy of the role %s does not let AWS IoT (%s) take it for the template %s", name, iotService, template)
	}
	return d.rights(ctx, name, "AWSIoTThingsRegistration", registering, map[string]string{
		"iot:CreateThing":          d.arn("iot", "thing/"+d.fleet.thingOf(anySerialNumber)),
		"iot:AttachThingPrincipal": "*",
		"iot:UpdateCertificate":    d.certificateARN("0"),
		"iot:AttachPolicy":         "*",
	})
}

// rights looks whether a role has one of the sufficient policies, or policies of its own
// that let it do all that is needed. What a policy of the account's allows that is attached
// to the role is not read.
func (d *doctor) rights(ctx context.Context, role, usual string, sufficient []string, needed map[string]string) error {
	attached, err := d.managedPolicies(ctx, role)
	if err != nil {
		return d.missed(err, "what the role %s may do", role)
	}
	if slices.ContainsFunc(attached, func(name string) bool { return slices.Contains(sufficient, name) }) {
		return nil
	}
	documents, err := d.inlinePolicies(ctx, role)
	if err != nil {
		return d.missed(err, "what the role %s may do", role)
	}
	for _, action := range slices.Sorted(maps.Keys(needed)) {
		allowed := slices.ContainsFunc(documents, func(document string) bool { return letsRole(document, action, needed[action]) })
		switch {
		case allowed:
		case slices.ContainsFunc(attached, func(name string) bool { return !slices.Contains(unrelated, name) }):
			d.warn("check it by hand", "the role %s does not have the policy %s, and what its policies %s allow is not read here: it needs %s", role, usual, strings.Join(attached, ", "), action)
			return nil
		default:
			d.find(again, "the role %s does not have the policy %s, nor one of its own that allows %s", role, usual, action)
			return nil
		}
	}
	return nil
}

func (a *Account) inlinePolicies(ctx context.Context, role string) ([]string, error) {
	var documents []string
	pages := iam.NewListRolePoliciesPaginator(a.iam, &iam.ListRolePoliciesInput{RoleName: aws.String(role)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range page.PolicyNames {
			document, err := a.inlinePolicy(ctx, role, name)
			if err != nil {
				return nil, err
			}
			documents = append(documents, document)
		}
	}
	return documents, nil
}
