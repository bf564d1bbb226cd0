package iotregistry

import (
	"maps"
	"slices"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

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
