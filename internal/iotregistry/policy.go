package iotregistry

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// DevicePolicy is the name under which the account's policy for devices is attached
// where no template names a policy.
const DevicePolicy = "device-policy"

// maxVersions is how many versions a policy or a provisioning template can have (AWS IoT
// Core quotas).
const maxVersions = 5

// Policy is a policy that certificates can be attached to.
type Policy struct {
	Name     string
	Versions []PolicyVersion // in the order of their ids; never none
	Default  int             // the id of the version in force
}

// PolicyVersion is a version of a policy.
type PolicyVersion struct {
	ID        int // 1 is the first
	Document  string
	CreatedAt time.Time
	parsed    *iotpolicy.Document
}

// Version returns the version with an id.
func (p Policy) Version(id int) (PolicyVersion, error) {
	for _, v := range p.Versions {
		if v.ID == id {
			return v, nil
		}
	}
	return PolicyVersion{}, refuse(resourceNotFound, "Policy version not found (name=%s, version=%d)", p.Name, id)
}

// InForce returns the default version.
func (p Policy) InForce() PolicyVersion {
	v, _ := p.Version(p.Default)
	return v
}

// policies are the policies of a Registry, whose mutex guards them.
type policies struct {
	claim  *iotpolicy.Document // nil: what the templates need, and nothing else
	device *iotpolicy.Document // takes the place of each policy that was not added
	named  map[string]*Policy
	inline map[string]string // text by name, of those that came in a template
}

func newPolicies() policies {
	return policies{named: make(map[string]*Policy), inline: make(map[string]string)}
}

func (s *policies) add(name, document string, now time.Time) error {
	parsed, err := iotpolicy.Parse([]byte(document))
	if err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	s.named[name] = &Policy{Name: name, Versions: []PolicyVersion{{1, document, now, parsed}}, Default: 1}
	return nil
}

// addInline adds a policy whose document is in a template.
func (s *policies) addInline(name, document string, now time.Time) error {
	if err := s.add(name, document, now); err != nil {
		return err
	}
	s.inline[name] = document
	return nil
}

// of returns the policies that are attached to a certificate, and the names of those
// that the policy of devices stands for although a template names them.
func (s *policies) of(c *Certificate) (attached []*iotpolicy.Document, missing []string) {
	for _, name := range c.Policies {
		document := s.device
		if p := s.named[name]; p != nil {
			document = p.InForce().parsed
		} else if name != DevicePolicy {
			missing = append(missing, name)
		}
		attached = append(attached, document)
	}
	return attached, missing
}

func (s *policies) get(name string) (*Policy, error) {
	if p := s.named[name]; p != nil {
		return p, nil
	}
	return nil, refuse(resourceNotFound, "Policy not found (name=%s)", name)
}

// clone is a copy of a policy for callers.
func (p *Policy) clone() Policy {
	copied := *p
	copied.Versions = slices.Clone(p.Versions)
	return copied
}

// Policy returns the policy of that name.
func (r *Registry) Policy(name string) (Policy, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.policies.get(name)
	if err != nil {
		return Policy{}, err
	}
	return p.clone(), nil
}

// Policies returns the policies in the order of their names.
func (r *Registry) Policies() []Policy {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Policy
	for _, name := range slices.Sorted(maps.Keys(r.policies.named)) {
		all = append(all, r.policies.named[name].clone())
	}
	return all
}

// CreatePolicy adds a policy. It fails if there is one of that name.
func (r *Registry) CreatePolicy(name, document string) (Policy, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.policies.named[name] != nil {
		return Policy{}, refuse(resourceAlreadyExists, "Policy cannot be created - name already exists (name=%s)", name)
	}
	if err := r.policies.add(name, document, r.now()); err != nil {
		return Policy{}, refuse(malformedPolicy, "%v", err)
	}
	return r.policies.named[name].clone(), nil
}

// CreatePolicyVersion adds a version to a policy, which comes into force at once or when
// it is made the default.
func (r *Registry) CreatePolicyVersion(name, document string, inForce bool) (PolicyVersion, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.policies.get(name)
	if err != nil {
		return PolicyVersion{}, err
	}
	parsed, err := iotpolicy.Parse([]byte(document))
	if err != nil {
		return PolicyVersion{}, refuse(malformedPolicy, "policy %s: %v", name, err)
	}
	if len(p.Versions) >= maxVersions {
		return PolicyVersion{}, refuse(versionsLimitExceeded, "The policy %s already has the maximum number of versions (%d)", name, maxVersions)
	}
	v := PolicyVersion{p.Versions[len(p.Versions)-1].ID + 1, document, r.now(), parsed}
	p.Versions = append(p.Versions, v)
	if inForce {
		p.Default = v.ID
	}
	return v, nil
}

// SetDefaultPolicyVersion brings a version of a policy into force.
func (r *Registry) SetDefaultPolicyVersion(name string, id int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.policies.get(name)
	if err != nil {
		return err
	}
	if _, err := p.Version(id); err != nil {
		return err
	}
	p.Default = id
	return nil
}

// DeletePolicyVersion deletes a version that is not the default.
func (r *Registry) DeletePolicyVersion(name string, id int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.policies.get(name)
	if err != nil {
		return err
	}
	if _, err := p.Version(id); err != nil {
		return err
	}
	if id == p.Default {
		return refuse(deleteConflict, "Cannot delete the default version of a policy (name=%s)", name)
	}
	p.Versions = slices.DeleteFunc(p.Versions, func(v PolicyVersion) bool { return v.ID == id })
	return nil
}

// DeletePolicy deletes a policy that is not attached to a certificate and has only one
// version (API_DeletePolicy).
func (r *Registry) DeletePolicy(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	p, err := r.policies.get(name)
	if err != nil {
		return err
	}
	attached := func(c *Certificate) bool { return slices.Contains(c.Policies, name) }
	if slices.ContainsFunc(r.certificates.inOrder, attached) {
		return refuse(deleteConflict, "The policy cannot be deleted as the policy is attached to one or more principals (name=%s)", name)
	}
	if len(p.Versions) > 1 {
		return refuse(deleteConflict, "The policy cannot be deleted as versions other than the default version exist (name=%s)", name)
	}
	delete(r.policies.named, name)
	delete(r.policies.inline, name)
	return nil
}
