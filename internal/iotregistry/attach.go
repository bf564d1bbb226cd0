package iotregistry

import "slices"

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
