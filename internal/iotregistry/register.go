package iotregistry

import (
	"errors"
	"maps"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// ErrToken means that a certificate cannot be registered with this token (any more).
var ErrToken = errors.New("the certificate ownership token is not known, has expired, or was used")

// Register does to a certificate and its thing what a template says, and returns the
// name of the thing, which is "" if the template has none. parameters are kept with the
// thing. A certificate that is already registered stays as it is: its device asks again
// because the answer was lost.
//
// It fails with [ErrToken] if the certificate no longer exists, with
// [iottemplate.ErrConflict] if something exists that the template does not let it
// change, if a policy in the template is not a policy document, and if the certificate
// has another thing although one of them is exclusive.
func (r *Registry) Register(certificateID string, wanted *iottemplate.Registration, parameters map[string]string) (thingName string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.certificates.byID[certificateID]
	if c == nil || r.spentLocked(c) {
		return "", ErrToken
	}
	if c.Registered {
		return c.ThingName, nil
	}
	var thing *Thing
	if wanted.Thing != nil {
		if thing, err = r.things.merged(*wanted.Thing); err != nil {
			return "", err
		}
	}
	status, exclusive := c.Status, c.ExclusiveThing
	if w := wanted.Certificate; w != nil {
		exclusive = exclusive || w.ExclusiveThing
		if status, err = w.Override.Apply(c.Status, w.Status); err != nil {
			return "", err
		}
	}
	if thing != nil {
		if err := r.attachableLocked(thing.Name, c, exclusive); err != nil {
			return "", err
		}
	}
	if err := r.attachLocked(c, wanted.Policies); err != nil {
		return "", err
	}
	if thing != nil {
		thing.Parameters = maps.Clone(parameters)
		thing.attach(c.ID)
		r.things.put(thing)
		c.ThingName = thing.Name
	}
	if r.rules.ActivationLag > 0 {
		c.ConnectsFrom = r.now().Add(r.rules.ActivationLag)
	}
	c.Registered, c.Status, c.ExclusiveThing = true, status, exclusive
	r.keep(Change{Certificate: newCertificateChange(c), Thing: thing})
	return c.ThingName, nil
}

// spentLocked reports whether the token of a certificate cannot be used any more because
// it was used.
func (r *Registry) spentLocked(c *Certificate) bool { return c.Registered && r.rules.SingleUseTokens }

// attachLocked attaches the policies that a template wants to a certificate, in place of
// those it has. Policies whose documents are in the template are added first.
func (r *Registry) attachLocked(c *Certificate, wanted []iottemplate.Policy) error {
	var names []string
	for _, p := range wanted {
		if p.Document != "" && r.policies.inline[p.Name] != p.Document {
			if err := r.policies.addInline(p.Name, p.Document, r.now()); err != nil {
				return err
			}
			r.keep(Change{Policy: &PolicyChange{p.Name, p.Document}})
		}
		names = append(names, p.Name)
	}
	c.Policies = names
	return nil
}
