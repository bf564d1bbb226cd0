package iotregistry

import (
	"fmt"
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
