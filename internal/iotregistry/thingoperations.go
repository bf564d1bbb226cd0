package iotregistry

// Thing returns the thing of that name.
func (r *Registry) Thing(name string) (Thing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	t, err := r.things.get(name)
	if err != nil {
		return Thing{}, err
	}
	return t.clone(), nil
}

// DeleteThing deletes a thing that no certificate is attached to.
func (r *Registry) DeleteThing(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	t, err := r.things.get(name)
	if err != nil {
		return err
	}
	if len(t.CertificateIDs) > 0 {
		return refuse(invalidRequest, "Cannot delete. Thing %s is still attached to one or more principals", name)
	}
	r.things.delete(name)
	r.keep(Change{DeletedThing: name})
	return nil
}
