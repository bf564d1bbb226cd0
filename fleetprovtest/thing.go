package fleetprovtest

import (
	"maps"
	"slices"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// Thing is a device that was registered.
type Thing struct {
	Name           string
	Parameters     map[string]string // of the last registration, the hook's overrides included
	CertificateIDs []string          // in order of registration

	// From the template's thing resource.
	Attributes   map[string]string
	Type         string
	Groups       []string
	BillingGroup string
}

// Things returns the things in the order of their first registration.
func (s *Server) Things() []Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.expire(s.now())
	var things []Thing
	for _, t := range s.registry.things {
		things = append(things, t.clone())
	}
	return things
}

func (t *Thing) clone() Thing {
	c := *t
	c.Parameters = maps.Clone(t.Parameters)
	c.CertificateIDs = slices.Clone(t.CertificateIDs)
	c.Attributes = maps.Clone(t.Attributes)
	c.Groups = slices.Clone(t.Groups)
	return c
}

// thingLocked returns what the thing is to become, or nil if the template has
// none.
func (s *Server) thingLocked(wanted *iottemplate.Thing) (*Thing, error) {
	if wanted == nil {
		return nil, nil
	}
	thing := Thing{Name: wanted.Name}
	result := *wanted
	if existing := s.registry.byName[wanted.Name]; existing != nil {
		thing = existing.clone()
		var err error
		if result, err = wanted.Override.Apply(existing.definition(), *wanted); err != nil {
			return nil, err
		}
	}
	thing.Attributes, thing.Type = result.Attributes, result.Type
	thing.Groups, thing.BillingGroup = result.Groups, result.BillingGroup
	return &thing, nil
}

func (t *Thing) definition() iottemplate.Thing {
	return iottemplate.Thing{
		Name: t.Name, Attributes: t.Attributes, Type: t.Type, Groups: t.Groups, BillingGroup: t.BillingGroup,
	}
}
