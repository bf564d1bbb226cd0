package iotregistry

// Replay makes a change that another registry has kept. It does not keep it again.
func (r *Registry) Replay(change Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if change.ClaimStatus != "" {
		r.claims.status = change.ClaimStatus
	}
	if p := change.Policy; p != nil {
		if err := r.policies.addInline(p.Name, p.Document, r.now()); err != nil {
			return err
		}
	}
	if change.Thing != nil {
		r.things.put(change.Thing)
	}
	r.things.delete(change.DeletedThing)
	if change.Certificate != nil {
		c, err := change.Certificate.certificate()
		if err != nil {
			return err
		}
		r.certificates.put(c)
	}
	if c := r.certificates.byID[change.DeletedCertificate]; c != nil {
		r.deleteLocked(c)
	}
	return nil
}

// KeepChanges calls begin with the changes that lead from a new registry to this one.
// From then on it calls keep with each further change, in order. Nothing changes while
// begin or keep runs, and neither may call the registry.
func (r *Registry) KeepChanges(begin func(all []Change) error, keep func(Change)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := begin(r.changesLocked()); err != nil {
		return err
	}
	r.keep = keep
	return nil
}

func (r *Registry) changesLocked() []Change {
	r.expireLocked()
	all := []Change{{ClaimStatus: r.claims.status}}
	for name, document := range r.policies.inline {
		all = append(all, Change{Policy: &PolicyChange{name, document}})
	}
	for _, t := range r.things.inOrder {
		all = append(all, Change{Thing: t})
	}
	for _, c := range r.certificates.inOrder {
		all = append(all, Change{Certificate: newCertificateChange(c)})
	}
	return all
}
