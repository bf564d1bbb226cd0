package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// LoadCredentials reads the credentials that [Provisioner.Ensure] stored. It needs
// neither claim nor network: this is how a provisioned device boots. It fails with
// an error that wraps [fs.ErrNotExist] if there are none. Credentials whose key
// lives in hardware come back without it: give it with
// [Credentials.SetPrivateKey].
func LoadCredentials(ctx context.Context, store Store) (*Credentials, error) {
	if store == nil {
		return nil, errors.New("fleetprov: the store is nil")
	}
	data, err := store.Get(ctx, credentialsName)
	if err != nil {
		return nil, fmt.Errorf("fleetprov: reading %s: %w", credentialsName, err)
	}
	return ParseCredentials(data)
}

// Ensure returns the device's credentials: those in store, or else new ones, which
// it stores. It is what firmware calls at every boot.
//
// Sound credentials in the store are returned at once, without a lock, a write or
// the network. Sound are credentials that can be read, whose key belongs to the
// certificate, and that have not expired. Otherwise Ensure locks the store if it is
// a [Locker], proves that it can be written to before AWS makes anything, and
// provisions as [Provisioner.Provision] does, with a journal in the store: when the
// power fails, the next Ensure goes on with the certificate that was issued
// instead of asking for another.
//
// Only one case leaves a second active certificate behind: the answer to
// RegisterThing is lost together with the power, and the device does not come back
// within the hour that the ownership token lives.
//
// With [WithVerification], credentials that are stored but could not be verified
// are returned together with that error, by this Ensure and by each one after it
// that cannot verify them.
//
// Damaged credentials and journals are kept in the store as damaged-<hash>.pem,
// and so is a journal for another template or endpoint. An error of the store is
// returned, never taken for damage. Once AWS has accepted the registration,
// Credentials are returned even together with an error.
//
// The claim may be erased once Ensure has returned without an error.
func (p *Provisioner) Ensure(ctx context.Context, store Store, parameters map[string]string) (*Credentials, error) {
	r, err := p.begin(store)
	if err != nil {
		return nil, err
	}
	c, _, err := r.stored(ctx)
	if err != nil || c != nil && !r.unproven(ctx, c) {
		return c, err
	}
	// From here on c is what was stored but never verified, if anything: whatever
	// fails, the device can boot with it.
	if err := r.prepare(ctx, parameters); err != nil {
		return c, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return c, err
	}
	defer unlock()
	ensured, err := r.ensure(ctx)
	if ensured == nil && err != nil {
		ensured = c
	}
	return ensured, err
}

// begin starts a run on a store.
func (p *Provisioner) begin(store Store) (*run, error) {
	r, err := p.newRun()
	if err != nil {
		return nil, err
	}
	if store == nil {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the store is nil")}
	}
	r.store, r.journal = store, r.recordCreated
	return r, nil
}

// ensure does what is left to do, while the store is locked.
func (r *run) ensure(ctx context.Context) (*Credentials, error) {
	c, unsound, err := r.stored(ctx)
	switch {
	case err != nil:
		return nil, err
	case c != nil && r.unproven(ctx, c):
		return c, r.prove(ctx, c)
	case c != nil:
		return c, nil // another run was faster
	case unsound != nil:
		if err := r.setAside(ctx, unsound); err != nil {
			return nil, err
		}
	}
	j, pending, err := r.pending(ctx, "")
	if err != nil {
		return nil, err
	}
	if j != nil && j.Phase == phaseAccepted && !r.pastUse(j.credentials) {
		return j.credentials, r.finish(ctx, j.credentials)
	}
	c, failed := r.provision(ctx, j, pending)
	if c == nil {
		return nil, failed
	}
	// Where the journal cannot be written, the credentials may be all the same.
	_ = r.record(ctx, phaseAccepted, c)
	return c, both(failed, r.finish(ctx, c))
}

// provision makes attempts, with the certificate of journal j if it has one that
// is not registered yet. The store is proved before AWS makes anything.
func (r *run) provision(ctx context.Context, j *record, pending []byte) (*Credentials, error) {
	if j != nil && j.Phase == phaseCreated {
		if err := r.goOn(j); err != nil {
			return nil, err
		}
	}
	if err := r.probe(ctx, pending); err != nil {
		return nil, err
	}
	return r.repeat(ctx)
}

// finish stores accepted credentials, and drops the journal when all is done.
func (r *run) finish(ctx context.Context, c *Credentials) error {
	if err := r.keepCredentials(ctx, c); err != nil {
		return err
	}
	return r.prove(ctx, c)
}

// prove verifies stored credentials if that is asked for, and drops the journal.
func (r *run) prove(ctx context.Context, c *Credentials) error {
	r.accepted = c.CertificateID
	if r.verified {
		if err := r.verify(ctx, c); err != nil {
			return err
		}
	}
	return r.dropJournal(ctx)
}

// unproven reports whether stored credentials are to be verified and never were:
// their journal is still there.
func (r *run) unproven(ctx context.Context, c *Credentials) bool {
	if !r.verified {
		return false
	}
	data, err := r.get(ctx, pendingName)
	if err != nil || data == nil {
		return false
	}
	j, err := parseRecord(data)
	return err == nil && j.Phase == phaseAccepted && j.credentials.CertificateID == c.CertificateID
}

func (r *run) keepCredentials(ctx context.Context, c *Credentials) error {
	r.accepted = c.CertificateID
	data, err := c.MarshalPEM()
	if err != nil {
		return &Error{Op: OpStore, CertificateID: c.CertificateID, Attempts: r.attempt, Err: err}
	}
	return r.keepFile(ctx, credentialsName, data)
}

func (r *run) dropJournal(ctx context.Context) error {
	return r.keep(ctx, "deleting "+pendingName, func(ctx context.Context) error { return r.store.Delete(ctx, pendingName) })
}

// stored returns the credentials in the store if they are sound. If they are not,
// it returns what they were read from.
func (r *run) stored(ctx context.Context) (c *Credentials, unsound []byte, err error) {
	data, err := r.get(ctx, credentialsName)
	if err != nil || data == nil {
		return nil, nil, err
	}
	c, err = ParseCredentials(data)
	if err != nil {
		return nil, data, nil
	}
	if err := r.useHardwareKey(c); err != nil {
		return nil, nil, err
	}
	if r.pastUse(c) {
		return nil, data, nil
	}
	return c, nil, nil
}

// pastUse reports whether credentials have expired.
func (r *run) pastUse(c *Credentials) bool {
	leaf, _, err := c.chain()
	return err != nil || r.now().After(leaf.NotAfter)
}

// lock keeps other runs on the same store waiting, if the store can.
func (r *run) lock(ctx context.Context) (unlock func(), err error) {
	locker, ok := r.store.(Locker)
	if !ok {
		return func() {}, nil
	}
	free, err := locker.Lock(ctx)
	if err != nil {
		return nil, &Error{Op: OpStore, Err: fmt.Errorf("locking the store: %w; another run may hold it", err)}
	}
	return func() {
		if err := free(); err != nil {
			r.log.warn(ctx, "unlocking the store failed", slog.Any("error", err))
		}
	}, nil
}

// both joins two errors on one line.
func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}
