package controlplane

import (
	"slices"
	"strconv"
)

func policyARN(in input, name string) string { return in.arn("iot", "policy/"+name) }

func (p *plane) createPolicy(in input) (output, error) {
	made, err := p.account.Registry.CreatePolicy(in.text("policyName"), in.text("policyDocument"))
	if err != nil {
		return nil, err
	}
	return output{
		"policyName":      made.Name,
		"policyArn":       policyARN(in, made.Name),
		"policyDocument":  made.InForce().Document,
		"policyVersionId": strconv.Itoa(made.Default),
	}, nil
}

func (p *plane) getPolicy(in input) (output, error) {
	found, err := p.account.Registry.Policy(in.text("policyName"))
	if err != nil {
		return nil, err
	}
	return output{
		"policyName":       found.Name,
		"policyArn":        policyARN(in, found.Name),
		"policyDocument":   found.InForce().Document,
		"defaultVersionId": strconv.Itoa(found.Default),
		"creationDate":     epoch(found.Versions[0].CreatedAt),
		"lastModifiedDate": epoch(found.Versions[len(found.Versions)-1].CreatedAt),
	}, nil
}

func (p *plane) deletePolicy(in input) (output, error) {
	return output{}, p.account.Registry.DeletePolicy(in.text("policyName"))
}

func policyEntry(in input, name string) entry {
	return entry{name, output{"policyName": name, "policyArn": policyARN(in, name)}}
}

func (p *plane) listPolicies(in input) (output, error) {
	var all []entry
	for _, found := range p.account.Registry.Policies() {
		all = append(all, policyEntry(in, found.Name))
	}
	return list(in, "policies", all, "pageSize", "marker", "nextMarker")
}

func (p *plane) createPolicyVersion(in input) (output, error) {
	v, err := p.account.Registry.CreatePolicyVersion(in.text("policyName"), in.text("policyDocument"), in.flag("setAsDefault"))
	if err != nil {
		return nil, err
	}
	return output{
		"policyArn":        policyARN(in, in.text("policyName")),
		"policyDocument":   v.Document,
		"policyVersionId":  strconv.Itoa(v.ID),
		"isDefaultVersion": in.flag("setAsDefault"),
	}, nil
}

func (p *plane) getPolicyVersion(in input) (output, error) {
	found, err := p.account.Registry.Policy(in.text("policyName"))
	if err != nil {
		return nil, err
	}
	v, err := found.Version(versionNumber(in.text("policyVersionId")))
	if err != nil {
		return nil, err
	}
	return output{
		"policyArn":        policyARN(in, found.Name),
		"policyName":       found.Name,
		"policyDocument":   v.Document,
		"policyVersionId":  strconv.Itoa(v.ID),
		"isDefaultVersion": v.ID == found.Default,
		"creationDate":     epoch(v.CreatedAt),
		"lastModifiedDate": epoch(v.CreatedAt),
	}, nil
}

func (p *plane) listPolicyVersions(in input) (output, error) {
	found, err := p.account.Registry.Policy(in.text("policyName"))
	if err != nil {
		return nil, err
	}
	versions := []any{}
	for _, v := range found.Versions {
		versions = append(versions, output{
			"versionId":        strconv.Itoa(v.ID),
			"isDefaultVersion": v.ID == found.Default,
			"createDate":       epoch(v.CreatedAt),
		})
	}
	return output{"policyVersions": versions}, nil
}

func (p *plane) setDefaultPolicyVersion(in input) (output, error) {
	return output{}, p.account.Registry.SetDefaultPolicyVersion(in.text("policyName"), versionNumber(in.text("policyVersionId")))
}

func (p *plane) deletePolicyVersion(in input) (output, error) {
	return output{}, p.account.Registry.DeletePolicyVersion(in.text("policyName"), versionNumber(in.text("policyVersionId")))
}

// attachPolicy takes certificates as targets, but no thing groups and no identities of
// Amazon Cognito.
func (p *plane) attachPolicy(in input) (output, error) {
	id, err := certificateOf(in.text("target"))
	if err != nil {
		return nil, err
	}
	return output{}, p.account.Registry.AttachPolicy(in.text("policyName"), id)
}

func (p *plane) detachPolicy(in input) (output, error) {
	id, err := certificateOf(in.text("target"))
	if err != nil {
		return nil, err
	}
	return output{}, p.account.Registry.DetachPolicy(in.text("policyName"), id)
}

func (p *plane) listAttachedPolicies(in input) (output, error) {
	id, err := certificateOf(in.text("target"))
	if err != nil {
		return nil, err
	}
	c, err := p.account.Registry.Certificate(id)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, name := range c.Policies {
		all = append(all, policyEntry(in, name))
	}
	return list(in, "policies", all, "pageSize", "marker", "nextMarker")
}

func (p *plane) listTargets(in input) (output, error) {
	name := in.text("policyName")
	if _, err := p.account.Registry.Policy(name); err != nil {
		return nil, err
	}
	var all []entry
	for _, c := range p.account.Registry.Certificates() {
		if slices.Contains(c.Policies, name) {
			all = append(all, certificateEntry(in, c.ID))
		}
	}
	return list(in, "targets", all, "pageSize", "marker", "nextMarker")
}

func certificateEntry(in input, id string) entry { return entry{id, in.arn("iot", "cert/"+id)} }

// versionNumber is the id of a version of a policy, which is a text. It is 0, which no
// version has, if the number is too large.
func versionNumber(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
