package operator

import (
	"context"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// role is a role of IAM, without its policies.
type role struct {
	*Account
	name, trust string
}

func (r role) String() string { return "role " + r.name }

func (r role) look(ctx context.Context) error {
	trust, err := r.roleTrust(ctx, r.name)
	if err != nil {
		return absentIf(err)
	}
	if !sameJSON(trust, r.trust) {
		return difference("others may take it than this fleet needs (its trust policy is different)")
	}
	return nil
}

// roleTrust returns the trust policy of a role.
func (a *Account) roleTrust(ctx context.Context, name string) (string, error) {
	found, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return "", err
	}
	return url.QueryUnescape(aws.ToString(found.Role.AssumeRolePolicyDocument)) // RFC 3986 (API_Role): + is %2B
}

func (r role) create(ctx context.Context) error {
	_, err := r.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &r.name, AssumeRolePolicyDocument: &r.trust})
	return err
}

func (r role) replace(ctx context.Context) error {
	_, err := r.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &r.name, PolicyDocument: &r.trust})
	return err
}

func (r role) remove(ctx context.Context) error {
	return r.eventually(ctx, func() error {
		_, err := r.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &r.name})
		return presentOr(err)
	}, conflicts...)
}

// managedPolicy is a policy of AWS that a role has.
type managedPolicy struct {
	*Account
	role, policy string
}

func (p managedPolicy) String() string { return "policy " + p.policy + " of role " + p.role }

func (p managedPolicy) look(ctx context.Context) error {
	names, err := p.managedPolicies(ctx, p.role)
	if err != nil {
		return absentIf(err)
	}
	if !slices.Contains(names, p.policy) {
		return errAbsent
	}
	return nil
}

// managedPolicies returns the names of the policies that are attached to a role.
func (a *Account) managedPolicies(ctx context.Context, role string) ([]string, error) {
	var names []string
	pages := iam.NewListAttachedRolePoliciesPaginator(a.iam, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, attached := range page.AttachedPolicies {
			names = append(names, aws.ToString(attached.PolicyName))
		}
	}
	return names, nil
}

func (p managedPolicy) create(ctx context.Context) error {
	_, err := p.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &p.role, PolicyArn: aws.String(p.managedPolicyARN(p.policy))})
	return err
}

func (p managedPolicy) remove(ctx context.Context) error {
	_, err := p.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &p.role, PolicyArn: aws.String(p.managedPolicyARN(p.policy))})
	return presentOr(err)
}

// inlinePolicy is a policy that a role has of its own.
type inlinePolicy struct {
	*Account
	role, name, document string
}

func (p inlinePolicy) String() string { return "policy " + p.name + " of role " + p.role }

func (p inlinePolicy) look(ctx context.Context) error {
	found, err := p.inlinePolicy(ctx, p.role, p.name)
	if err != nil {
		return absentIf(err)
	}
	if !sameJSON(found, p.document) {
		return difference("it allows other things than this fleet needs")
	}
	return nil
}

// inlinePolicy returns the document of a policy of a role.
func (a *Account) inlinePolicy(ctx context.Context, role, name string) (string, error) {
	found, err := a.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
	if err != nil {
		return "", err
	}
	return url.QueryUnescape(aws.ToString(found.PolicyDocument))
}

func (p inlinePolicy) create(ctx context.Context) error {
	_, err := p.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &p.role, PolicyName: &p.name, PolicyDocument: &p.document})
	return err
}

func (p inlinePolicy) replace(ctx context.Context) error { return p.create(ctx) }

func (p inlinePolicy) remove(ctx context.Context) error {
	_, err := p.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &p.role, PolicyName: &p.name})
	return presentOr(err)
}
