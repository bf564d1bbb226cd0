package controlplane

import (
	"crypto/rand"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// stsOperations are those of STS.
var stsOperations = []operation{{name: "GetCallerIdentity", perform: (*plane).getCallerIdentity}}

var (
	roleName       = must(body("RoleName", text(1, 64, `[\w+=,.@-]+`)))
	rolePolicyName = must(body("PolicyName", text(1, 128, `[\w+=,.@-]+`)))
	rolePolicyARN  = must(body("PolicyArn", text(20, 2048, "")))
	iamDocument    = text(1, 131072, `[\t\n\r\x{20}-\x{FF}]+`)
)

// iamOperations are those of IAM, version 2010-05-08.
var iamOperations = []operation{
	{name: "CreateRole", perform: (*plane).createRole, members: []member{
		roleName, must(body("AssumeRolePolicyDocument", iamDocument)), body("Path", text(1, 512, `/|/[\x21-\x7F]+/`)),
		body("Description", text(0, 1000, "")), body("MaxSessionDuration", number(3600, 43200)),
	}},
	{name: "GetRole", perform: (*plane).getRole, members: []member{roleName}},
	{name: "DeleteRole", perform: (*plane).deleteRole, members: []member{roleName}},
	{name: "UpdateAssumeRolePolicy", perform: (*plane).updateTrust, members: []member{roleName, must(body("PolicyDocument", iamDocument))}},
	{name: "AttachRolePolicy", perform: (*plane).attachRolePolicy, members: []member{roleName, rolePolicyARN}},
	{name: "DetachRolePolicy", perform: (*plane).detachRolePolicy, members: []member{roleName, rolePolicyARN}},
	{name: "ListAttachedRolePolicies", perform: (*plane).listAttachedRolePolicies, members: []member{roleName}},
	{name: "PutRolePolicy", perform: (*plane).putRolePolicy, members: []member{roleName, rolePolicyName, must(body("PolicyDocument", iamDocument))}},
	{name: "GetRolePolicy", perform: (*plane).getRolePolicy, members: []member{roleName, rolePolicyName}},
	{name: "DeleteRolePolicy", perform: (*plane).deleteRolePolicy, members: []member{roleName, rolePolicyName}},
	{name: "ListRolePolicies", perform: (*plane).listRolePolicies, members: []member{roleName}},
}

// registers are the managed policies that let AWS IoT register things.
var registers = []string{"AWSIoTThingsRegistration", "AWSIoTFullAccess", "AdministratorAccess"}

// checkRole implements [Plane.CheckRole].
func (p *plane) checkRole(arn string) error {
	found, err := p.roles.assume(arn, "iot.amazonaws.com")
	if err != nil {
		return fmt.Errorf("role %s: %w", arn, err)
	}
	p.roles.mu.Lock()
	defer p.roles.mu.Unlock()
	right := func(arn string) bool { return slices.Contains(registers, path.Base(arn)) }
	if len(found.inline) == 0 && !slices.ContainsFunc(found.attached, right) {
		return fmt.Errorf("role %s: it has no right to register things: attach AWSIoTThingsRegistration", arn)
	}
	return nil
}

// change calls do with the role of a request.
func (p *plane) change(in input, do func(*role) error) (output, error) {
	p.roles.mu.Lock()
	defer p.roles.mu.Unlock()
	name := in.text("RoleName")
	found := p.roles.byName[name]
	if found == nil {
		return nil, fail("NoSuchEntity", "The role with name %s cannot be found.", name)
	}
	return output{}, do(found)
}

func (p *plane) getCallerIdentity(in input) (output, error) {
	return output{"Account": iotregistry.Account, "UserId": "AIDASAMPLEUSERID", "Arn": in.arn("iam", "user/DevAdmin")}, nil
}

func (p *plane) createRole(in input) (output, error) {
	document := in.text("AssumeRolePolicyDocument")
	parsed, err := parseTrust(document)
	if err != nil {
		return nil, fail("MalformedPolicyDocument", "%v", err)
	}
	p.roles.mu.Lock()
	defer p.roles.mu.Unlock()
	name := in.text("RoleName")
	if p.roles.byName[name] != nil {
		return nil, fail("EntityAlreadyExists", "Role with name %s already exists.", name)
	}
	made := &role{
		name:          name,
		id:            "AROA" + rand.Text()[:17],
		path:          "/",
		description:   in.text("Description"),
		maxSession:    3600,
		created:       p.account.Now(),
		trustDocument: document,
		trust:         parsed,
		inline:        make(map[string]string),
	}
	if in.given("Path") {
		made.path = in.text("Path")
	}
	if in.given("MaxSessionDuration") {
		made.maxSession = in.number("MaxSessionDuration")
	}
	p.roles.byName[name] = made
	return output{"Role": made.output(in)}, nil
}

func (p *plane) getRole(in input) (output, error) {
	var answer output
	_, err := p.change(in, func(r *role) error {
		answer = output{"Role": r.output(in)}
		return nil
	})
	return answer, err
}

func (p *plane) deleteRole(in input) (output, error) {
	return p.change(in, func(r *role) error {
		switch {
		case len(r.attached) > 0:
			return fail("DeleteConflict", "Cannot delete entity, must detach all policies first.")
		case len(r.inline) > 0:
			return fail("DeleteConflict", "Cannot delete entity, must delete policies first.")
		}
		delete(p.roles.byName, r.name)
		return nil
	})
}

func (p *plane) updateTrust(in input) (output, error) {
	document := in.text("PolicyDocument")
	parsed, err := parseTrust(document)
	if err != nil {
		return nil, fail("MalformedPolicyDocument", "%v", err)
	}
	return p.change(in, func(r *role) error {
		r.trustDocument, r.trust = document, parsed
		return nil
	})
}

// attachRolePolicy takes every ARN of AWS's own policies, of which it knows no list.
func (p *plane) attachRolePolicy(in input) (output, error) {
	arn := in.text("PolicyArn")
	return p.change(in, func(r *role) error {
		if !strings.HasPrefix(arn, partition(in.region)+"iam::aws:policy/") {
			return fail("NoSuchEntity", "Policy %s does not exist or is not attachable.", arn)
		}
		if !slices.Contains(r.attached, arn) {
			r.attached = append(r.attached, arn)
		}
		return nil
	})
}

func (p *plane) detachRolePolicy(in input) (output, error) {
	arn := in.text("PolicyArn")
	return p.change(in, func(r *role) error {
		i := slices.Index(r.attached, arn)
		if i < 0 {
			return fail("NoSuchEntity", "Policy %s was not found.", arn)
		}
		r.attached = slices.Delete(r.attached, i, i+1)
		return nil
	})
}

func (p *plane) listAttachedRolePolicies(in input) (output, error) {
	all := []any{}
	_, err := p.change(in, func(r *role) error {
		for _, arn := range r.attached {
			all = append(all, output{"PolicyName": path.Base(arn), "PolicyArn": arn})
		}
		return nil
	})
	return output{"AttachedPolicies": all, "IsTruncated": false}, err
}

func (p *plane) putRolePolicy(in input) (output, error) {
	if _, err := parseTrust(in.text("PolicyDocument")); err != nil {
		return nil, fail("MalformedPolicyDocument", "%v", err)
	}
	return p.change(in, func(r *role) error {
		r.inline[in.text("PolicyName")] = in.text("PolicyDocument")
		return nil
	})
}

// changeInline calls do with the document of the request's policy.
func (p *plane) changeInline(in input, do func(r *role, document string)) (output, error) {
	return p.change(in, func(r *role) error {
		document, exists := r.inline[in.text("PolicyName")]
		if !exists {
			return fail("NoSuchEntity", "The role policy with name %s cannot be found.", in.text("PolicyName"))
		}
		do(r, document)
		return nil
	})
}

func (p *plane) getRolePolicy(in input) (output, error) {
	answer := output{"RoleName": in.text("RoleName"), "PolicyName": in.text("PolicyName")}
	_, err := p.changeInline(in, func(_ *role, document string) { answer["PolicyDocument"] = escape(document) })
	return answer, err
}

func (p *plane) deleteRolePolicy(in input) (output, error) {
	return p.changeInline(in, func(r *role, _ string) { delete(r.inline, in.text("PolicyName")) })
}

func (p *plane) listRolePolicies(in input) (output, error) {
	all := []any{}
	_, err := p.change(in, func(r *role) error {
		for _, name := range slices.Sorted(maps.Keys(r.inline)) {
			all = append(all, name)
		}
		return nil
	})
	return output{"PolicyNames": all, "IsTruncated": false}, err
}
