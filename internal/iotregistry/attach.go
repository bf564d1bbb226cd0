package iotregistry

import (
	"slices"
	"time"
)

// detachLag is how long a policy or a thing stays attached after it was detached. AWS
// says that it takes several seconds and gives no number (API_DetachThingPrincipal).
const detachLag = time.Second

// detachment is what is about to be detached from a certificate: a policy or a thing.
type detachment struct{ certificateID, policy, thing string }

// detachments are what is about to be detached, with the time when it will be. The
// Registry's mutex guards them. They are not kept as a [Change] before they are made.
type detachments map[detachment]time.Time

func (s detachments) due(now time.Time) []detachment {
	var due []detachment
	for d, at := range s {
		if !now.Before(at) {
			due = append(due, d)
			delete(s, d)
		}
	}
	return due
}

// detachLocked makes the detachments that are due.
func (r *Registry) detachLocked() {
	for _, d := range r.detachments.due(r.now()) {
		var change Change
		if c := r.certificates.byID[d.certificateID]; c != nil && d.policy != "" {
			c.Policies = without(c.Policies, d.policy)
			change.Certificate = newCertificateChange(c)
		}
		if t := r.things.byName[d.thing]; t != nil {
			t.CertificateIDs = without(t.CertificateIDs, d.certificateID)
			change.Thing = t
		}
		r.keep(change)
	}
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}

// AttachPolicy attaches a policy to a certificate, unless it is attached already.
func (r *Registry) AttachPolicy(name, certificateID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	if _, err := r.policies.get(name); err != nil {
		return err
	}
	c, err := r.certificates.get(certificateID)
	if err != nil {
		return err
	}
	delete(r.detachments, detachment{certificateID: c.ID, policy: name})
	if !slices.Contains(c.Policies, name) {
		c.Policies = append(slices.Clone(c.Policies), name)
		r.keep(Change{Certificate: newCertificateChange(c)})
	}
	return nil
}

// DetachPolicy detaches a policy from a certificate, a moment later. It does nothing if
// it is not attached.
func (r *Registry) DetachPolicy(name, certificateID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	c, err := r.certificates.get(certificateID)
	if err != nil {
		return err
	}
	if slices.Contains(c.Policies, name) {
		r.detachments[detachment{certificateID: c.ID, policy: name}] = r.now().Add(detachLag)
	}
	return nil
}

// AttachThing attaches a certificate to a thing, unless it is attached already.
func (r *Registry) AttachThing(name, certificateID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	t, err := r.things.get(name)
	if err != nil {
		return err
	}
	c, err := r.certificates.get(certificateID)
	if err != nil {
		return err
	}
	delete(r.detachments, detachment{certificateID: c.ID, thing: name})
	if !slices.Contains(t.CertificateIDs, c.ID) {
		t.CertificateIDs = append(slices.Clone(t.CertificateIDs), c.ID)
		r.keep(Change{Thing: t})
	}
	return nil
}

// DetachThing detaches a certificate from a thing, a moment later. It does nothing if it
// is not attached.
func (r *Registry) DetachThing(name, certificateID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	t, err := r.things.get(name)
	if err != nil {
		return err
	}
	c, err := r.certificates.get(certificateID)
	if err != nil {
		return err
	}
	if slices.Contains(t.CertificateIDs, c.ID) {
		r.detachments[detachment{certificateID: c.ID, thing: name}] = r.now().Add(detachLag)
	}
	return nil
}
