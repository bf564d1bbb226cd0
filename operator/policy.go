package operator

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
)

// policy is a policy of AWS IoT, for the certificates of devices or claims.
type policy struct {
	*Account
	name, document string
}

func (p policy) String() string { return "policy " + p.name }

func (p policy) look(ctx context.Context) error {
	document, err := p.policyDocument(ctx, p.name)
	if err != nil {
		return absentIf(err)
	}
	if !sameJSON(document, p.document) {
		return difference("it allows other things than this fleet needs")
	}
	return nil
}

// policyDocument returns the document that is in force.
func (a *Account) policyDocument(ctx context.Context, name string) (string, error) {
	found, err := a.iot.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: &name})
	if err != nil {
		return "", err
	}
	return aws.ToString(found.PolicyDocument), nil
}

func (p policy) create(ctx context.Context) error {
	_, err := p.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: &p.name, PolicyDocument: &p.document})
	return err
}

// replace deletes the versions that are not in force, since a policy can have five.
func (p policy) replace(ctx context.Context) error {
	if err := p.removeOldVersions(ctx); err != nil {
		return err
	}
	_, err := p.iot.CreatePolicyVersion(ctx, &iot.CreatePolicyVersionInput{PolicyName: &p.name, PolicyDocument: &p.document, SetAsDefault: true})
	return err
}

func (p policy) removeOldVersions(ctx context.Context) error {
	versions, err := p.iot.ListPolicyVersions(ctx, &iot.ListPolicyVersionsInput{PolicyName: &p.name})
	if err != nil {
		return err
	}
	for _, v := range versions.PolicyVersions {
		if v.IsDefaultVersion {
			continue
		}
		_, err := p.iot.DeletePolicyVersion(ctx, &iot.DeletePolicyVersionInput{PolicyName: &p.name, PolicyVersionId: v.VersionId})
		if presentOr(err) != nil {
			return err
		}
	}
	return nil
}

func (p policy) remove(ctx context.Context) error {
	if err := p.removeOldVersions(ctx); err != nil {
		return presentOr(err)
	}
	return p.eventually(ctx, func() error {
		_, err := p.iot.DeletePolicy(ctx, &iot.DeletePolicyInput{PolicyName: &p.name})
		return presentOr(err)
	}, conflicts...)
}

// certificatesWith returns the ids of the certificates that a policy is attached to, none
// if there is no such policy.
func (a *Account) certificatesWith(ctx context.Context, policy string) ([]string, error) {
	var ids []string
	pages := iot.NewListTargetsForPolicyPaginator(a.iot, &iot.ListTargetsForPolicyInput{PolicyName: &policy})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, presentOr(err)
		}
		for _, target := range page.Targets {
			if id, ok := certificateID(target); ok {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}
