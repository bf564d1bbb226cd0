package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/fleetprov/fleetprov/internal/bounded"
	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/journal"
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
	data, err := bounded.New(store).Get(ctx, credentialsName)
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
// Each call of the store takes as long as [WithStepTimeout] says at most, but for Lock,
// which takes until ctx ends. When ctx ends, what is being written after AWS has given
// something gets two seconds more. That holds also for a store that hangs and does not
// watch its context: see [Store] for what is left behind then.
//
// The claim may be erased once Ensure has returned without an error.
func (p *Provisioner) Ensure(ctx context.Context, store Store, parameters map[string]string) (*Credentials, error) {
	k, err := p.newKeeper(store, false)
	if err != nil {
		return nil, err
	}
	c, _, err := k.stored(ctx)
	if err != nil || c != nil && !k.isUnverified(ctx, c) {
		return c, err
	}
	// From here on c is what was stored but never verified, if anything: whatever
	// fails, the device can boot with it.
	if err := k.run.prepare(ctx, parameters); err != nil {
		return c, err
	}
	unlock, err := k.lock(ctx)
	if err != nil {
		return c, err
	}
	defer unlock()
	ensured, err := k.ensure(ctx)
	if ensured == nil && err != nil {
		ensured = c
	}
	return ensured, err
}

// ensure does what is left to do, while the store is locked.
func (k *keeper) ensure(ctx context.Context) (*Credentials, error) {
	c, unsound, err := k.stored(ctx)
	switch {
	case err != nil:
		return nil, err
	case c != nil && k.isUnverified(ctx, c):
		return c, k.verify(ctx, c)
	case c != nil:
		return c, nil // another run was faster
	case unsound != nil:
		if err := k.journal.Files.SetAside(ctx, unsound); err != nil {
			return nil, err
		}
	}
	pending, err := k.pending(ctx, "")
	if err != nil {
		return nil, err
	}
	if pending != nil && pending.Accepted {
		if c := newCredentials(pending.Credentials); !k.hasExpired(c) {
			return c, k.finish(ctx, c)
		}
	}
	c, failed := k.provision(ctx, pending, "")
	if c == nil {
		return nil, failed
	}
	return c, join(failed, k.finish(ctx, c))
}

// finish stores accepted credentials, and drops the journal when all is done.
func (k *keeper) finish(ctx context.Context, c *Credentials) error {
	if err := k.keep(ctx, c); err != nil {
		return err
	}
	return k.verify(ctx, c)
}

// verify verifies stored credentials if that is asked for, and drops the journal.
func (k *keeper) verify(ctx context.Context, c *Credentials) error {
	k.run.gained.accepted = c.CertificateID
	if verify := k.run.p.options.verify; verify != nil {
		if err := verify(k.run, ctx, c); err != nil {
			return err
		}
	}
	return k.journal.Drop(ctx)
}

// isUnverified reports whether stored credentials are to be verified and never were:
// their journal is still there.
func (k *keeper) isUnverified(ctx context.Context, c *Credentials) bool {
	return k.run.p.options.verify != nil && k.journal.IsAccepted(ctx, c.CertificateID)
}

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
	k, err := p.newKeeper(store, true)
	if err != nil {
		return nil, err
	}
	if err := k.run.prepare(ctx, parameters); err != nil {
		return nil, err
	}
	unlock, err := k.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return k.renew(ctx)
}

// renew does what is left to do of a renewal, while the store is locked.
func (k *keeper) renew(ctx context.Context) (*Credentials, error) {
	old, data, err := k.replaced(ctx)
	if err != nil {
		return nil, err
	}
	pending, err := k.pending(ctx, old.CertificateID)
	if err != nil {
		return nil, err
	}
	if pending != nil && pending.Accepted {
		c := newCredentials(pending.Credentials)
		switch {
		case k.hasExpired(c):
		case c.CertificateID == old.CertificateID:
			return c, k.journal.Drop(ctx) // it was done but for this
		default:
			c.PreviousCertificateID = old.CertificateID
			return c, k.swap(ctx, c, data)
		}
	}
	c, failed := k.provision(ctx, pending, old.CertificateID)
	if c == nil {
		return nil, failed
	}
	return c, join(failed, k.swap(ctx, c, data))
}

// replaced reads the credentials that are to be replaced, which may have expired.
func (k *keeper) replaced(ctx context.Context) (*Credentials, []byte, error) {
	data, err := k.journal.Files.Read(ctx, credentialsName)
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

// swap puts credentials in the place of old, once they have connected.
func (k *keeper) swap(ctx context.Context, c *Credentials, old []byte) error {
	if err := k.run.verify(ctx, c); err != nil {
		return err
	}
	if err := k.journal.Files.Keep(ctx, previousName, old); err != nil {
		return err
	}
	if err := k.keep(ctx, c); err != nil {
		return err
	}
	return k.journal.Drop(ctx)
}

// keeper is one call of Ensure or Renew: a run, and the journal of it in the store.
type keeper struct {
	run     *run
	store   Store          // the caller's, for what else it can do
	calls   *bounded.Store // the calls of store
	journal *journal.Journal
}

func (p *Provisioner) newKeeper(store Store, renewal bool) (*keeper, error) {
	r, err := p.newRun()
	if err != nil {
		return nil, err
	}
	if store == nil {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the store is nil")}
	}
	calls := bounded.New(store)
	k := &keeper{run: r, store: store, calls: calls, journal: &journal.Journal{
		Files:    journal.Files{Store: calls, Step: r.steps.store},
		Endpoint: p.link.Endpoint.String(),
		Template: p.template,
		Renewal:  renewal,
	}}
	r.journal = k
	return k, nil
}

// lock keeps other runs on the same store waiting, if the store can. It waits itself
// until ctx ends.
func (k *keeper) lock(ctx context.Context) (unlock func(), err error) {
	free := func() error { return nil }
	if locker, ok := k.store.(Locker); ok {
		free, err = k.calls.Lock(ctx, locker.Lock)
	}
	switch {
	case err == nil:
		return func() { k.unlock(context.WithoutCancel(ctx), free) }, nil
	case bounded.IsHang(err):
		err = fmt.Errorf("%w; the store hangs, or another run may hold it", err)
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))):
		err = fmt.Errorf("%w; another run may hold it", err)
	}
	return nil, &Error{Op: OpStore, Err: fmt.Errorf("locking the store: %w", err)}
}

// unlock gives up the lock, when no write can come any more from this run.
func (k *keeper) unlock(ctx context.Context, free func() error) {
	what, ended := k.calls.Overdue()
	if ended == nil {
		k.free(ctx, free)
		return
	}
	k.run.steps.log.warn(ctx, "the store hangs, and stays locked until it has done what it was asked for", "unended", what)
	go func() {
		for ended != nil {
			<-ended
			_, ended = k.calls.Overdue()
		}
		k.free(ctx, free)
	}()
}

// free calls what gives up the lock, which has as long as any call of the store.
func (k *keeper) free(ctx context.Context, free func() error) {
	ctx, cancel := context.WithTimeout(ctx, k.run.steps.timeout)
	defer cancel()
	_, err := bounded.Read(ctx, "unlocking the store", func(context.Context) (struct{}, error) { return struct{}{}, free() })
	if err != nil {
		k.run.steps.log.warn(ctx, "unlocking the store failed", "error", err)
	}
}

// provision makes attempts, with the certificate of a journal if it has one that is
// not registered yet. Before AWS makes anything, the store is proved to take it. The
// new credentials replace those with the id previous, or none.
func (k *keeper) provision(ctx context.Context, pending *journal.Pending, previous string) (*Credentials, error) {
	if pending != nil && !pending.Accepted {
		if err := k.goOn(pending); err != nil {
			return nil, err
		}
	}
	if err := k.journal.Probe(ctx); err != nil {
		return nil, err
	}
	c, err := k.run.repeat(ctx)
	if c != nil {
		c.PreviousCertificateID = previous
		// Where the journal cannot be written, the credentials may be all the same.
		_ = k.accepted(ctx, c)
	}
	return c, err
}

// goOn takes up the certificate of a run that ended before it was registered, or
// before it knew.
func (k *keeper) goOn(pending *journal.Pending) error {
	file := pending.Credentials
	leaf, err := credfile.ParseLeaf(file.Chain)
	if err != nil {
		return &Error{Op: OpStore, Err: err}
	}
	g := &k.run.gained
	g.issued = &exchange.Issued{ID: file.CertificateID, Chain: file.Chain, Leaf: leaf, Key: file.Key, Token: pending.Token}
	g.issuedAt = pending.Issued
	return nil
}

// created writes the certificate to the journal, before it is registered.
func (k *keeper) created(ctx context.Context, g *gained) error {
	return k.journal.Created(ctx, k.run.p.file(g.issued, new(exchange.Registered)), g.issued.Token, g.issuedAt)
}

// accepted writes to the journal that AWS has registered the credentials.
func (k *keeper) accepted(ctx context.Context, c *Credentials) error {
	file, err := c.file()
	if err != nil {
		return k.run.steps.failed(OpStore, err)
	}
	return k.journal.Accepted(ctx, file)
}

// pending returns what the journal holds for this run, with its key.
func (k *keeper) pending(ctx context.Context, stored string) (*journal.Pending, error) {
	pending, err := k.journal.Read(ctx, stored)
	if err != nil || pending == nil {
		return nil, err
	}
	return pending, k.giveKey(pending.Credentials)
}

// stored returns the credentials in the store if they are sound. If they are not,
// it returns what they were read from.
func (k *keeper) stored(ctx context.Context) (c *Credentials, unsound []byte, err error) {
	data, err := k.journal.Files.Read(ctx, credentialsName)
	if err != nil || data == nil {
		return nil, nil, err
	}
	file, err := credfile.Parse(data)
	if err != nil {
		return nil, data, nil
	}
	if err := k.giveKey(file); err != nil {
		return nil, nil, err
	}
	if c = newCredentials(file); k.hasExpired(c) {
		return nil, data, nil
	}
	return c, nil, nil
}

// giveKey gives credentials whose key is not in the file the key of WithPrivateKey.
// If that is missing, or another key, it is not damage.
func (k *keeper) giveKey(file *credfile.File) error {
	if file.Key != nil {
		return nil
	}
	key := k.run.p.options.privateKey
	if key == nil {
		return &Error{Op: OpStore, CertificateID: file.CertificateID, Err: errors.New("the private key of the stored credentials lives in hardware: give it with WithPrivateKey")}
	}
	if err := newCredentials(file).SetPrivateKey(key); err != nil {
		return &Error{Op: OpStore, CertificateID: file.CertificateID, Err: fmt.Errorf("the stored credentials are for another key than the one of WithPrivateKey: %w", err)}
	}
	file.Key = key
	return nil
}

func (k *keeper) keep(ctx context.Context, c *Credentials) error {
	k.run.gained.accepted = c.CertificateID
	data, err := c.MarshalPEM()
	if err != nil {
		return k.run.steps.failed(OpStore, err)
	}
	return k.journal.Files.Keep(ctx, credentialsName, data)
}

func (k *keeper) hasExpired(c *Credentials) bool {
	leaf, _, err := c.chain()
	return err != nil || k.run.p.options.now().After(leaf.NotAfter)
}
