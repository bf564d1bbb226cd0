package fleetprov

import (
	"context"
	"fmt"
	"io/fs"
)

// Renew replaces the credentials in store by new ones. It provisions again, proves
// the new credentials by connecting with them under the thing name, and only then
// puts them in the place of the old, which stay in the store as previous.pem.
// PreviousCertificateID of what it returns is what an operator may now deactivate.
//
// The Provisioner may have been made with the claim, or with the identity of the
// credentials to be replaced, and for a template of its own (AWS developer guide,
// "fleet-provision-api"). The device closes its own session first: AWS IoT ends a
// connection when another one comes under the same client id. With the identity of
// the credentials it takes ten seconds more, which lie between the connections of
// that client id: see [WithBackoff].
//
// It fails with an error that wraps [fs.ErrNotExist] if there are no credentials to
// replace. It has a journal as [Provisioner.Ensure] has: called again after a
// power failure or an error, it goes on where it was: new credentials that could not
// be verified are tried again, not replaced. Until it has returned without an error,
// the old credentials are in the store. A call that finds a renewal done but for its
// journal ends that one, and returns the credentials that are stored: their
// CertificateID tells.
func (p *Provisioner) Renew(ctx context.Context, store Store, parameters map[string]string) (*Credentials, error) {
	r, err := p.begin(store)
	if err != nil {
		return nil, err
	}
	r.renewal = true
	if err := r.prepare(ctx, parameters); err != nil {
		return nil, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return r.renew(ctx)
}

func (r *run) renew(ctx context.Context) (*Credentials, error) {
	old, data, err := r.replaced(ctx)
	if err != nil {
		return nil, err
	}
	j, pending, err := r.pending(ctx, old.CertificateID)
	if err != nil {
		return nil, err
	}
	if j != nil && j.Phase == phaseAccepted && !r.pastUse(j.credentials) {
		if j.credentials.CertificateID == old.CertificateID {
			return j.credentials, r.dropJournal(ctx) // it was done but for this
		}
		j.credentials.PreviousCertificateID = old.CertificateID
		return j.credentials, r.swap(ctx, j.credentials, data)
	}
	c, failed := r.provision(ctx, j, pending)
	if c == nil {
		return nil, failed
	}
	c.PreviousCertificateID = old.CertificateID
	_ = r.record(ctx, phaseAccepted, c)
	return c, both(failed, r.swap(ctx, c, data))
}

// replaced reads the credentials that are to be replaced, which may have expired.
func (r *run) replaced(ctx context.Context) (*Credentials, []byte, error) {
	data, err := r.get(ctx, credentialsName)
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		return nil, nil, &Error{Op: OpStore, Err: fmt.Errorf("there are no credentials to renew: %w", fs.ErrNotExist)}
	}
	old, err := ParseCredentials(data)
	if err != nil {
		return nil, nil, &Error{Op: OpStore, Err: fmt.Errorf("the credentials to renew: %w", err)}
	}
	return old, data, nil
}

// swap puts proven credentials in the place of old.
func (r *run) swap(ctx context.Context, c *Credentials, old []byte) error {
	if err := r.verify(ctx, c); err != nil {
		return err
	}
	if err := r.keepFile(ctx, previousName, old); err != nil {
		return err
	}
	if err := r.keepCredentials(ctx, c); err != nil {
		return err
	}
	return r.dropJournal(ctx)
}
