package iotregistry

import (
	"fmt"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// DevicePolicy is the name under which the account's policy for devices is attached
// where no template names a policy.
const DevicePolicy = "device-policy"

// policies are the policies of a Registry, whose mutex guards them.
type policies struct {
	claim  *iotpolicy.Document // nil: what the templates need, and nothing else
	device *iotpolicy.Document // takes the place of each policy that was not added
	named  map[string]*iotpolicy.Document
	inline map[string]string // text by name, of those that came in a template
}

func newPolicies() policies {
	return policies{named: make(map[string]*iotpolicy.Document), inline: make(map[string]string)}
}

func (s *policies) add(name, document string) error {
	parsed, err := iotpolicy.Parse([]byte(document))
	if err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	s.named[name] = parsed
	return nil
}

// addInline adds a policy whose document is in a template.
func (s *policies) addInline(name, document string) error {
	if err := s.add(name, document); err != nil {
		return err
	}
	s.inline[name] = document
	return nil
}

// of returns the policies that are attached to a certificate, and the names of those
// that the policy of devices stands for although a template names them.
func (s *policies) of(c *Certificate) (attached []*iotpolicy.Document, missing []string) {
	for _, name := range c.Policies {
		document := s.named[name]
		if document == nil {
			document = s.device
			if name != DevicePolicy {
				missing = append(missing, name)
			}
		}
		attached = append(attached, document)
	}
	return attached, missing
}
