package controlplane

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// stsVersion is the version of the API of STS, by which its requests are told from IAM's.
const stsVersion = "2011-06-15"

// stsOperations are those of STS.
var stsOperations = []operation{{name: "GetCallerIdentity", perform: (*Plane).getCallerIdentity}}

var (
	roleName       = must(body("RoleName", text(1, 64, `[\w+=,.@-]+`)))
	rolePolicyName = must(body("PolicyName", text(1, 128, `[\w+=,.@-]+`)))
	rolePolicyARN  = must(body("PolicyArn", text(20, 2048, "")))
	iamDocument    = text(1, 131072, `[\t\n\r\x{20}-\x{FF}]+`)
)

// iamOperations are those of IAM, version 2010-05-08.
var iamOperations = []operation{
	{name: "CreateRole", perform: (*Plane).createRole, members: []member{
		roleName, must(body("AssumeRolePolicyDocument", iamDocument)), body("Path", text(1, 512, `/|/[\x21-\x7F]+/`)),
		body("Description", text(0, 1000, "")), body("MaxSessionDuration", number(3600, 43200)),
	}},
	{name: "GetRole", perform: (*Plane).getRole, members: []member{roleName}},
	{name: "DeleteRole", perform: (*Plane).deleteRole, members: []member{roleName}},
	{name: "UpdateAssumeRolePolicy", perform: (*Plane).updateTrust, members: []member{roleName, must(body("PolicyDocument", iamDocument))}},
	{name: "AttachRolePolicy", perform: (*Plane).attachRolePolicy, members: []member{roleName, rolePolicyARN}},
	{name: "DetachRolePolicy", perform: (*Plane).detachRolePolicy, members: []member{roleName, rolePolicyARN}},
	{name: "ListAttachedRolePolicies", perform: (*Plane).listAttachedRolePolicies, members: []member{roleName}},
	{name: "PutRolePolicy", perform: (*Plane).putRolePolicy, members: []member{roleName, rolePolicyName, must(body("PolicyDocument", iamDocument))}},
	{name: "GetRolePolicy", perform: (*Plane).getRolePolicy, members: []member{roleName, rolePolicyName}},
	{name: "DeleteRolePolicy", perform: (*Plane).deleteRolePolicy, members: []member{roleName, rolePolicyName}},
	{name: "ListRolePolicies", perform: (*Plane).listRolePolicies, members: []member{roleName}},
}

// role is a role of IAM. Its roles guard it.
type role struct {
	name, id, path, description string
	maxSession                  int // seconds
	created                     time.Time
	trustDocument               string
	trust                       trust
	attached                    []string          // ARNs of policies
	inline                      map[string]string // documents by name
}

// roles are the roles of the account, by name.
type roles struct {
	mu     *sync.Mutex // guards the rest
	byName map[string]*role
}

func newRoles() roles { return roles{new(sync.Mutex), make(map[string]*role)} }

// assume fails unless there is a role with that ARN that a service may take.
func (r roles) assume(arn, service string) (*role, error) {
	name, ok := resource(arn, "iam", "role/")
	if !ok {
		return nil, fmt.Errorf("it is not the ARN of a role in the account %s", iotregistry.Account)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.byName[path.Base(name)]
	if found == nil {
		return nil, errors.New("there is no such role")
	}
	if !found.trust.allows(service, "sts:AssumeRole", "") {
		return nil, fmt.Errorf("its trust policy does not let %s take it", service)
	}
	return found, nil
}

// registers are the managed policies that let AWS IoT register things.
var registers = []string{"AWSIoTThingsRegistration", "AWSIoTFullAccess", "AdministratorAccess"}

// CheckRole fails if AWS IoT may not take a role, or the role gives no right to register
// things: by one of AWS's policies for that, or by one of its own, whatever that says.
func (p *Plane) CheckRole(arn string) error {
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
func (p *Plane) change(in input, do func(*role) error) (output, error) {
	p.roles.mu.Lock()
	defer p.roles.mu.Unlock()
	name := in.text("RoleName")
	found := p.roles.byName[name]
	if found == nil {
		return nil, fail("NoSuchEntity", "The role with name %s cannot be found.", name)
	}
	return output{}, do(found)
}

func (p *Plane) getCallerIdentity(in input) (output, error) {
	return output{"Account": iotregistry.Account, "UserId": "AIDASAMPLEUSERID", "Arn": in.arn("iam", "user/DevAdmin")}, nil
}

func (p *Plane) createRole(in input) (output, error) {
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

func (r *role) output(in input) output {
	return output{
		"Path":                     r.path,
		"RoleName":                 r.name,
		"RoleId":                   r.id,
		"Arn":                      in.arn("iam", "role"+r.path+r.name),
		"CreateDate":               r.created.UTC().Format(time.RFC3339),
		"AssumeRolePolicyDocument": escape(r.trustDocument),
		"Description":              r.description,
		"MaxSessionDuration":       r.maxSession,
	}
}

// escape encodes a document as IAM does, by RFC 3986.
func escape(document string) string { return strings.ReplaceAll(url.QueryEscape(document), "+", "%20") }

func (p *Plane) getRole(in input) (output, error) {
	var answer output
	_, err := p.change(in, func(r *role) error {
		answer = output{"Role": r.output(in)}
		return nil
	})
	return answer, err
}

func (p *Plane) deleteRole(in input) (output, error) {
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

func (p *Plane) updateTrust(in input) (output, error) {
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
func (p *Plane) attachRolePolicy(in input) (output, error) {
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

func (p *Plane) detachRolePolicy(in input) (output, error) {
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

func (p *Plane) listAttachedRolePolicies(in input) (output, error) {
	all := []any{}
	_, err := p.change(in, func(r *role) error {
		for _, arn := range r.attached {
			all = append(all, output{"PolicyName": path.Base(arn), "PolicyArn": arn})
		}
		return nil
	})
	return output{"AttachedPolicies": all, "IsTruncated": false}, err
}

func (p *Plane) putRolePolicy(in input) (output, error) {
	if _, err := parseTrust(in.text("PolicyDocument")); err != nil {
		return nil, fail("MalformedPolicyDocument", "%v", err)
	}
	return p.change(in, func(r *role) error {
		r.inline[in.text("PolicyName")] = in.text("PolicyDocument")
		return nil
	})
}

// changeInline calls do with the document of the request's policy.
func (p *Plane) changeInline(in input, do func(r *role, document string)) (output, error) {
	return p.change(in, func(r *role) error {
		document, exists := r.inline[in.text("PolicyName")]
		if !exists {
			return fail("NoSuchEntity", "The role policy with name %s cannot be found.", in.text("PolicyName"))
		}
		do(r, document)
		return nil
	})
}

func (p *Plane) getRolePolicy(in input) (output, error) {
	answer := output{"RoleName": in.text("RoleName"), "PolicyName": in.text("PolicyName")}
	_, err := p.changeInline(in, func(_ *role, document string) { answer["PolicyDocument"] = escape(document) })
	return answer, err
}

func (p *Plane) deleteRolePolicy(in input) (output, error) {
	return p.changeInline(in, func(r *role, _ string) { delete(r.inline, in.text("PolicyName")) })
}

func (p *Plane) listRolePolicies(in input) (output, error) {
	all := []any{}
	_, err := p.change(in, func(r *role) error {
		for _, name := range slices.Sorted(maps.Keys(r.inline)) {
			all = append(all, name)
		}
		return nil
	})
	return output{"PolicyNames": all, "IsTruncated": false}, err
}
