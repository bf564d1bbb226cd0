package iotregistry

import (
	"maps"
	"slices"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// Thing is a device that was registered.
type Thing struct {
	Name           string
	Parameters     map[string]string // of the last registration
	CertificateIDs []string          // in order of registration

	// From the template's thing resource.
	Attributes   map[string]string
	Type         string
	Groups       []string
	BillingGroup string
}

func (t *Thing) clone() Thing {
	copied := *t
	copied.Parameters = maps.Clone(t.Parameters)
	copied.CertificateIDs = slices.Clone(t.CertificateIDs)
	copied.Attributes = maps.Clone(t.Attributes)
	copied.Groups = slices.Clone(t.Groups)
	return copied
}

// definition returns what a template can say of a thing.
func (t *Thing) definition() iottemplate.Thing {
	return iottemplate.Thing{
		Name: t.Name, Attributes: t.Attributes, Type: t.Type, Groups: t.Groups, BillingGroup: t.BillingGroup,
	}
}

// attach adds a certificate, unless it is attached already.
func (t *Thing) attach(certificateID string) {
	if !slices.Contains(t.CertificateIDs, certificateID) {
		t.CertificateIDs = append(slices.Clone(t.CertificateIDs), certificateID)
	}
}

// things are the things of a Registry, whose mutex guards them.
type things struct {
	inOrder []*Thing // of their first registration
	byName  map[string]*Thing
}

func newThings() things { return things{byName: make(map[string]*Thing)} }

// put adds t, or replaces the thing of its name.
func (s *things) put(t *Thing) {
	if old := s.byName[t.Name]; old != nil {
		*old = *t
		return
	}
	s.inOrder = append(s.inOrder, t)
	s.byName[t.Name] = t
}

// detach removes a certificate that no longer exists from all things.
func (s *things) detach(certificateID string) {
	for _, t := range s.of(certificateID) {
		t.CertificateIDs = without(t.CertificateIDs, certificateID)
	}
}

// of returns the things that a certificate is attached to.
func (s *things) of(certificateID string) []*Thing {
	var attached []*Thing
	for _, t := range s.inOrder {
		if slices.Contains(t.CertificateIDs, certificateID) {
			attached = append(attached, t)
		}
	}
	return attached
}

// firstOf returns the first thing that a certificate is attached to, or nil.
func (s *things) firstOf(certificateID string) *Thing {
	if attached := s.of(certificateID); len(attached) > 0 {
		return attached[0]
	}
	return nil
}

func (s *things) get(name string) (*Thing, error) {
	if t := s.byName[name]; t != nil {
		return t, nil
	}
	return nil, refuse(resourceNotFound, "Thing %s not found", name)
}

// delete does nothing if there is no such thing.
func (s *things) delete(name string) {
	delete(s.byName, name)
	s.inOrder = slices.DeleteFunc(s.inOrder, func(t *Thing) bool { return t.Name == name })
}

// merged returns what a thing becomes when a template asks for the wanted one. The
// thing itself stays as it is.
func (s *things) merged(wanted iottemplate.Thing) (*Thing, error) {
	thing := Thing{Name: wanted.Name}
	result := wanted
	if existing := s.byName[wanted.Name]; existing != nil {
		thing = existing.clone()
		var err error
		if result, err = wanted.Override.Apply(existing.definition(), wanted); err != nil {
			return nil, err
		}
	}
	thing.Attributes, thing.Type = result.Attributes, result.Type
	thing.Groups, thing.BillingGroup = result.Groups, result.BillingGroup
	return &thing, nil
}
