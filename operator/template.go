package operator

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// template is a provisioning template.
type template struct {
	*Account
	name, body, role, hook string
}

// invalid is what AWS IoT answers for some seconds after the role of a template was made.
const invalid = "InvalidRequestException"

func (t template) String() string { return "template " + t.name }

func (t template) look(ctx context.Context) error {
	found, err := t.describe(ctx, t.name)
	switch {
	case err != nil:
		return absentIf(err)
	case !aws.ToBool(found.Enabled):
		return difference("it is disabled")
	case !sameJSON(aws.ToString(found.TemplateBody), t.body):
		return difference("its body is another than this fleet needs")
	case aws.ToString(found.ProvisioningRoleArn) != t.roleARN(t.role):
		return difference("it has another role than this fleet needs")
	case found.PreProvisioningHook == nil || aws.ToString(found.PreProvisioningHook.TargetArn) != t.hookARN():
		return difference("it has another hook than this fleet needs, or none")
	}
	return nil
}

func (a *Account) describe(ctx context.Context, template string) (*iot.DescribeProvisioningTemplateOutput, error) {
	return a.iot.DescribeProvisioningTemplate(ctx, &iot.DescribeProvisioningTemplateInput{TemplateName: &template})
}

func (t template) hookARN() string { return t.arn("lambda", "function:"+t.hook) }

func (t template) hookSetting() *types.ProvisioningHook {
	return &types.ProvisioningHook{TargetArn: aws.String(t.hookARN()), PayloadVersion: aws.String("2020-04-01")}
}

func (t template) create(ctx context.Context) error {
	return t.eventually(ctx, func() error {
		_, err := t.iot.CreateProvisioningTemplate(ctx, &iot.CreateProvisioningTemplateInput{
			TemplateName:        &t.name,
			TemplateBody:        &t.body,
			Enabled:             aws.Bool(true),
			ProvisioningRoleArn: aws.String(t.roleARN(t.role)),
			PreProvisioningHook: t.hookSetting(),
		})
		return err
	}, invalid)
}

// replace deletes the versions that are not in force, since a template can have five.
func (t template) replace(ctx context.Context) error {
	if err := t.removeOldVersions(ctx); err != nil {
		return err
	}
	_, err := t.iot.CreateProvisioningTemplateVersion(ctx, &iot.CreateProvisioningTemplateVersionInput{TemplateName: &t.name, TemplateBody: &t.body, SetAsDefault: true})
	if err != nil {
		return err
	}
	return t.eventually(ctx, func() error {
		_, err := t.iot.UpdateProvisioningTemplate(ctx, &iot.UpdateProvisioningTemplateInput{
			TemplateName:        &t.name,
			Enabled:             aws.Bool(true),
			ProvisioningRoleArn: aws.String(t.roleARN(t.role)),
			PreProvisioningHook: t.hookSetting(),
		})
		return err
	}, invalid)
}

func (t template) removeOldVersions(ctx context.Context) error {
	pages := iot.NewListProvisioningTemplateVersionsPaginator(t.iot, &iot.ListProvisioningTemplateVersionsInput{TemplateName: &t.name})
	var errs []error
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, v := range page.Versions {
			if v.IsDefaultVersion {
				continue
			}
			_, err := t.iot.DeleteProvisioningTemplateVersion(ctx, &iot.DeleteProvisioningTemplateVersionInput{TemplateName: &t.name, VersionId: v.VersionId})
			errs = append(errs, presentOr(err))
		}
	}
	return errors.Join(errs...)
}

// remove first deletes the versions that are not in force, without which AWS IoT would not
// delete the template.
func (t template) remove(ctx context.Context) error {
	if err := t.removeOldVersions(ctx); err != nil {
		return presentOr(err)
	}
	_, err := t.iot.DeleteProvisioningTemplate(ctx, &iot.DeleteProvisioningTemplateInput{TemplateName: &t.name})
	return presentOr(err)
}
