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

// AttachThing attaches a certificate to a thing, unless it is attached already. With
// exclusive it becomes the only thing of the certificate until it is detached. It fails
// if the certificate has another thing and either attachment is exclusive; AWS does not
// document with which type of error.
func (r *Registry) AttachThing(name, certificateID string, exclusive bool) error {
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
	exclusive = exclusive || c.ExclusiveThing
	if err := r.attachableLocked(name, c, exclusive); err != nil {
		return err
	}
	delete(r.detachments, detachment{certificateID: c.ID, thing: name})
	if !slices.Contains(t.CertificateIDs, c.ID) || exclusive != c.ExclusiveThing {
		t.attach(c.ID)
		c.ExclusiveThing = exclusive
		r.keep(Change{Thing: t, Certificate: newCertificateChange(c)})
	}
	return nil
}

// attachableLocked fails if a certificate has another thing than the one of that name, and
// is to have only one.
func (r *Registry) attachableLocked(name string, c *Certificate, exclusive bool) error {
	if !exclusive {
		return nil
	}
	for _, other := range r.things.of(c.ID) {
		if other.Name != name {
			return refuse(invalidRequest, "The certificate is attached to thing %s, and an exclusive thing must be its only one (certificate id: %s)", other.Name, c.ID)
		}
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
