package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/bounded"
	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/journal"
	"github.com/fleetprov/fleetprov/internal/turn"
)

// LoadCredentials reads the credentials that [Provisioner.Ensure] stored. It needs
// neither claim nor network: this is how a provisioned device boots. It fails with
// an error that wraps [fs.ErrNotExist] if there are none. Credentials whose key
// lives in hardware come back without it: give it with
// [Credentials.UseKeyring] or [Credentials.SetPrivateKey].
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
// certificate, and that have not expired. Those that have, by the device's clock, are
// replaced by new ones if one attempt can get them, and returned with the error
// otherwise: the clock may be what is wrong.
//
// To get new ones, Ensure locks the store if it is a [Locker], proves with a file of
// 16 kB that it can be written to before AWS makes anything, and provisions as
// [Provisioner.Provision] does, with a journal in the store: when the power fails, the
// next Ensure goes on with the certificate that was issued instead of asking for
// another.
//
// A second active certificate is left behind when a registration was asked for whose
// answer never came, and its ownership token is refused afterwards (it lives for an
// hour, and AWS does not say whether it can be used again); when the journal of a
// certificate is damaged, is for another template or endpoint, or is for a private key
// that is gone; or when the stored credentials are damaged. AbandonedCertificateIDs of
// the [Credentials] names each of them, for an operator to deactivate, but for one whose
// file is damaged beyond reading. What AWS has refused in words is not named.
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
// Each call of the store takes as long as [WithStepTimeout] says at most. So does Lock
// where there are expired credentials to boot with; otherwise it waits until ctx ends,
// and the log says so every minute. When ctx ends, what is being written after AWS has
// given something gets two seconds more. That holds also for a store that hangs and does
// not watch its context: see [Store] for what is left behind then.
//
// A run may end before the wait that [WithBackoff] asks for: when ctx does, or with
// [WithMaxAttempts]. A program that calls Ensure again waits for it;
// [Manager.Credentials] does so by itself.
//
// The claim may be erased once Ensure has returned without an error.
func (p *Provisioner) Ensure(ctx context.Context, store Store, parameters map[string]string) (*Credentials, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	k, err := p.newKeeper(store, false)
	if err != nil {
		return nil, err
	}
	found, err := k.stored(ctx)
	if err != nil || found.isSound() {
		return found.credentials, err
	}
	// From here on the device can boot with what was found, if anything, whatever
	// fails.
	if err := k.run.prepare(ctx, parameters); err != nil {
		return found.credentials, err
	}
	unlock, err := k.lockFor(ctx, found)
	if err != nil {
		return found.credentials, err
	}
	defer unlock()
	ensured, err := k.ensure(ctx)
	if ensured == nil {
		ensured = found.credentials
	}
	return ensured, err
}

// lockFor is lock, but does not wait without end while there are expired credentials to
// boot with.
func (k *keeper) lockFor(ctx context.Context, found stored) (unlock func(), err error) {
	if found.expired {
		timeout := &diagnosis.TimeoutError{After: k.run.steps.timeout, Hints: &diagnosis.Store{Doing: "taking the lock"}}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout.After, timeout)
		defer cancel()
	}
	return k.lock(ctx)
}

// ensure does what is left to do, while the store is locked.
func (k *keeper) ensure(ctx context.Context) (*Credentials, error) {
	found, err := k.stored(ctx)
	switch {
	case err != nil || found.isSound(): // another run was faster
		return found.credentials, err
	case found.credentials != nil && !found.expired:
		return found.credentials, k.verifyStored(ctx, found.credentials)
	case found.credentials == nil && found.data != nil:
		if err := k.journal.Files.SetAside(ctx, found.data); err != nil {
			return nil, err
		}
	}
	pending, err := k.pending(ctx, found.id())
	if err != nil {
		return found.credentials, err
	}
	if pending.Accepted {
		found, err = k.accept(ctx, found, newCredentials(pending.Credentials))
		if err != nil || !found.expired {
			return found.credentials, err
		}
		pending = &journal.Pending{Abandoned: pending.Abandoned} // nothing to go on from: it is stored
	}
	return k.replace(ctx, found, pending)
}

// accept stores what the journal says that AWS has accepted, unless it is stored. If it
// has expired, it is to be replaced, and need not connect.
func (k *keeper) accept(ctx context.Context, found stored, c *Credentials) (stored, error) {
	var err error
	if c.CertificateID == found.id() {
		c = found.credentials
		err = k.verify(ctx, c)
	} else {
		err = k.put(ctx, found, c)
	}
	now := stored{credentials: c, expired: k.hasExpired(c)}
	var failure *Error
	if now.expired && errors.As(err, &failure) && failure.Op == OpVerify {
		err = nil
	}
	if err == nil {
		now.data, err = c.MarshalPEM()
	}
	return now, err
}

// verifyStored verifies stored credentials. The journal goes then, so that they name
// what it has named, if it is of others or damaged.
func (k *keeper) verifyStored(ctx context.Context, c *Credentials) error {
	pending, err := k.journal.Read(ctx, c.CertificateID) // sets aside what cannot be read
	if err != nil {
		return err
	}
	g := &k.run.gained
	g.abandon(c.AbandonedCertificateIDs...)
	g.abandon(pending.Abandoned...)
	if abandoned := g.abandonedBeside(c.CertificateID); len(abandoned) > len(c.AbandonedCertificateIDs) {
		c.AbandonedCertificateIDs = abandoned
		if err := k.keep(ctx, c); err != nil {
			return err
		}
	}
	return k.verify(ctx, c)
}

// replace provisions where there are no credentials, or ones that look expired. Those
// are kept if no others can be had: one attempt is made, since AWS may accept them.
func (k *keeper) replace(ctx context.Context, found stored, pending *journal.Pending) (*Credentials, error) {
	if found.credentials == nil {
		k.run.gained.abandon(credfile.Named(found.data)...)
		c, failed := k.provision(ctx, pending, found)
		if c == nil {
			return nil, failed
		}
		return c, join(failed, k.put(ctx, found, c))
	}
	k.run.gained.abandon(found.credentials.AbandonedCertificateIDs...)
	if file := k.run.p.unwritten.Renewed(found.id()); file != nil {
		c := newCredentials(file)
		return c, k.put(ctx, found, c)
	}
	if err := found.notDue(k.run.p.past); err != nil {
		return found.credentials, err
	}
	k.run.once = true
	c, failed := k.provision(ctx, pending, found)
	if c != nil {
		return c, join(failed, k.put(ctx, found, c))
	}
	var failure *Error
	if errors.As(failed, &failure) {
		failed = k.run.steps.failed(failure.Op, fmt.Errorf("the stored credentials have expired by this clock, and no others could be had: %w", failure.Err))
	}
	return found.credentials, failed
}

// put stores credentials that AWS has accepted, and drops the journal when all is done.
// What they take the place of is kept: it may be good, if the clock is wrong.
func (k *keeper) put(ctx context.Context, found stored, c *Credentials) error {
	if found.credentials != nil && found.id() != c.CertificateID {
		if err := k.journal.Files.Keep(ctx, previousName, found.data); err != nil {
			return err
		}
	}
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
// the old credentials are in the store. If a renewal before it has stored its credentials
// and only could not delete its journal, the call deletes that, returns what is stored,
// and does not renew again: the CertificateID tells which they are.
//
// When AWS refuses the ownership token of a renewal whose registration was not answered,
// the new certificate is tried under the thing name. If it connects, it is the renewal,
// with the DeviceConfiguration of the old credentials. If AWS does not let it in, the
// renewal begins again, and names it in AbandonedCertificateIDs.
func (p *Provisioner) Renew(ctx context.Context, store Store, parameters map[string]string) (*Credentials, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
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
	if renews := k.run.p.renews; renews != "" && renews != old.CertificateID { // another process was faster
		found, err := k.stored(ctx)
		if err == nil && found.credentials == nil {
			err = &Error{Op: OpStore, Err: errors.New(found.lack())}
		}
		return found.credentials, err
	}
	k.old = old
	k.run.gained.abandon(old.AbandonedCertificateIDs...)
	pending, err := k.pending(ctx, old.CertificateID)
	if err != nil {
		return nil, err
	}
	if pending.Accepted {
		c := newCredentials(pending.Credentials)
		if c.CertificateID == old.CertificateID {
			old.private = c.private         // if it lives in hardware
			return old, k.journal.Drop(ctx) // it was done but for this
		}
		c.PreviousCertificateID = old.CertificateID
		if err := k.swap(ctx, c, data); !isRefusedByServer(err) || !k.hasExpired(c) {
			return c, err
		}
		if pending, err = k.journal.GiveUp(ctx, pending); err != nil {
			return c, err
		}
	}
	if file := k.run.p.unwritten.Renewed(old.CertificateID); file != nil {
		c := newCredentials(file)
		return c, k.swap(ctx, c, data)
	}
	c, failed := k.provision(ctx, pending, stored{credentials: old, data: data})
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
	k.warnOfEndpoint(ctx, old)
	return old, data, nil
}

// swap puts credentials in the place of old, once they have connected.
func (k *keeper) swap(ctx context.Context, c *Credentials, old []byte) error {
	k.run.gained.accepted = c.CertificateID
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
	run      *run
	store    Store          // the caller's, for what else it can do
	calls    *bounded.Store // the calls of store
	journal  *journal.Journal
	hardware *hardware
	old      *Credentials // what is renewed; nil for Ensure
	warned   bool         // whether it was said that the store is of another endpoint
}

func (p *Provisioner) newKeeper(store Store, renewal bool) (*keeper, error) {
	if store == nil {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the store is nil")}
	}
	r := p.newRun()
	calls := bounded.New(store)
	k := &keeper{run: r, store: store, calls: calls, journal: &journal.Journal{
		Files:    journal.Files{Store: calls, Step: r.steps.store},
		Endpoint: p.link.Endpoint.String(),
		Template: p.template,
		Renewal:  renewal,
	}}
	k.hardware = &hardware{privateKey: p.options.privateKey, keyring: p.options.keyring, step: r.steps.keyring}
	r.journal = k
	return k, nil
}

// lock keeps other runs on the same store waiting, if the store can. It waits itself
// until ctx ends.
func (k *keeper) lock(ctx context.Context) (unlock func(), err error) {
	free := func() error { return nil }
	if locker, ok := k.store.(Locker); ok {
		free, err = k.waitForLock(ctx, locker)
	}
	if err == nil {
		return func() { k.unlock(context.WithoutCancel(ctx), free) }, nil
	}
	if ended := diagnosis.EndOf(ctx, err); bounded.IsHang(err) {
		err = fmt.Errorf("%w; the store hangs, or another run may hold it", ended)
	} else if ended != nil {
		err = fmt.Errorf("%w; another run may hold it", ended)
	}
	return nil, &Error{Op: OpStore, Err: fmt.Errorf("locking the store: %w", err)}
}

// lockWarning is how often a run that waits for the lock says so.
const lockWarning = time.Minute

// waitForLock takes the lock. Only the store knows whether another run holds it, who may
// be waited for, or it hangs: what it does besides waiting has as long as any step.
func (k *keeper) waitForLock(ctx context.Context, locker Locker) (unlock func() error, err error) {
	waiting, taken := context.WithCancel(ctx)
	var warnings sync.WaitGroup
	warnings.Go(func() {
		for waited := lockWarning; backoff.Sleep(waiting, lockWarning); waited += lockWarning {
			k.run.steps.log.warn(ctx, "waiting for the lock of the store; another run may hold it, or the store hangs", "waited", waited)
		}
	})
	defer warnings.Wait()
	defer taken()
	return k.calls.Lock(bounded.WithStep(ctx, k.run.steps.timeout), locker.Lock)
}

// unlock gives up the lock, when no write can come any more from this run.
func (k *keeper) unlock(ctx context.Context, free func() error) {
	what, ended := k.calls.Overdue()
	if ended == nil {
		k.free(ctx, free)
		return
	}
	k.run.steps.log.warn(ctx, "the store hangs, and stays locked until it has done what it was asked for: check the store", "unended", what)
	go func() {
		for ended != nil {
			<-ended
			_, ended = k.calls.Overdue()
		}
		k.free(ctx, free)
	}()
}

// free gives up the lock. The call may take as long as any other call of the store.
func (k *keeper) free(ctx context.Context, free func() error) {
	ctx, cancel := context.WithTimeout(ctx, k.run.steps.timeout)
	defer cancel()
	err := bounded.Call(ctx, "unlocking the store", func(context.Context) error { return free() })
	if err != nil {
		k.run.steps.log.warn(ctx, "unlocking the store failed: if the store stays locked, restart the process", "error", err)
	}
}

// provision makes attempts, with the certificate of a journal if it has one that is
// not registered yet. Before AWS makes anything, the store is proved to take it. The
// new credentials replace those that were found, if any.
func (k *keeper) provision(ctx context.Context, pending *journal.Pending, found stored) (*Credentials, error) {
	g := &k.run.gained
	g.abandon(pending.Abandoned...)
	g.refusedFor = pending.RefusedFor
	if pending.Credentials != nil && !pending.Accepted {
		if err := k.goOn(pending); err != nil {
			return nil, err
		}
	}
	// Before the store is written to, which many short runs would wear out.
	if err := k.run.p.past.Serve(ctx, k.run.waiting); err != nil {
		return nil, k.run.steps.interrupted(err)
	}
	label, err := k.hardware.labelFor(ctx, found, pending.KeyLabel)
	if err != nil {
		return nil, k.run.steps.failed(OpPrepare, err)
	}
	replaced := 0
	if found.credentials != nil {
		replaced = len(found.data)
	}
	if err := k.journal.Probe(ctx, g.abandoned, label, replaced); err != nil {
		return nil, err
	}
	ended, err := k.useLabel(ctx, label)
	if err != nil {
		return nil, err
	}
	c, err := k.run.repeat(ctx)
	ended()
	if c == nil {
		if g.issued != nil && !g.asked {
			_ = k.journal.Refused(ctx, g.issued.ID) // if it fails, the certificate is named without need
		}
		return nil, err
	}
	if err != nil && k.old != nil && c.ThingName == "" {
		// The answer could not be read.
		c.ThingName, c.DeviceConfiguration = k.old.ThingName, k.old.DeviceConfiguration
	}
	previous := found.id()
	c.PreviousCertificateID = previous
	file, fileErr := c.file()
	if fileErr != nil {
		return c, join(err, k.run.steps.failed(OpStore, fileErr))
	}
	if k.journal.Accepted(ctx, file) != nil && previous != "" {
		// The credentials may be written all the same. A renewal is verified first,
		// which may fail; then no file would tell of it.
		k.run.p.unwritten.Keep(previous, file)
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
	g.issuedAt, g.asked, g.keyLabel = pending.Issued, !pending.Refused, file.KeyLabel
	return nil
}

// created implements recorder.
func (k *keeper) created(ctx context.Context, g *gained) error {
	return k.journal.Created(ctx, k.run.p.file(g, new(exchange.Registered)), g.issued.Token, g.issuedAt)
}

// refusedFor implements recorder.
func (k *keeper) refusedFor(ctx context.Context, d time.Duration) { k.journal.KeepRefusedFor(ctx, d) }

// registered implements recorder. A renewal whose registration was asked for and not
// heard of again is tried: if it connects as the thing that is known, it is registered.
// If nobody can say, it is not given up.
func (k *keeper) registered(ctx context.Context, taken *turn.Taken) (*Credentials, error) {
	g := &k.run.gained
	if k.old == nil || k.old.ThingName == "" || !g.asked {
		return nil, nil
	}
	c := newCredentials(k.run.p.file(g, &exchange.Registered{ThingName: k.old.ThingName, DeviceConfiguration: k.old.DeviceConfiguration}))
	err := k.run.connectAs(ctx, c, taken)
	switch {
	case err == nil:
		return c, nil
	case isRefusedByServer(err):
		return nil, nil
	default:
		return nil, err
	}
}

// pending returns what the journal holds for this run, with its key. A certificate
// that is not registered yet, and whose key is gone, is given up.
func (k *keeper) pending(ctx context.Context, stored string) (*journal.Pending, error) {
	pending, err := k.journal.Read(ctx, stored)
	if err != nil || pending.Credentials == nil {
		return pending, err
	}
	err = k.hardware.giveKey(ctx, pending.Credentials)
	switch {
	case err == nil:
		return pending, nil
	case !isKeyGone(err):
		return nil, keyFailure(pending.Credentials, err)
	case pending.Credentials.CertificateID == stored:
		return nil, keyFailure(pending.Credentials, fmt.Errorf("%s: %w", credentialsName, err))
	case !pending.Accepted:
		k.run.steps.log.warn(ctx, "the journal's certificate is given up, since its private key is gone: deactivate it in AWS IoT if it is active", "certificateId", pending.Credentials.CertificateID)
		return k.journal.GiveUp(ctx, pending)
	case k.old != nil:
		return nil, keyFailure(pending.Credentials, fmt.Errorf("%s holds renewed credentials that AWS has accepted and that are not stored yet: %w; "+
			"give that key, or delete %s to renew again, and deactivate the certificate: the device goes on with the stored credentials", journal.Name, err, journal.Name))
	default:
		return nil, keyFailure(pending.Credentials, fmt.Errorf("%s holds credentials that AWS has accepted and that are not stored yet: %w; "+
			"give that key, or delete %s to provision the device anew and deactivate the certificate", journal.Name, err, journal.Name))
	}
}

// stored reads the credentials in the store. If they are not sound, nothing is lost of
// them.
func (k *keeper) stored(ctx context.Context) (stored, error) {
	data, err := k.journal.Files.Read(ctx, credentialsName)
	if err != nil || data == nil {
		return stored{}, err
	}
	file, err := credfile.Parse(data)
	if err != nil {
		return stored{data: data, unreadable: err}, nil
	}
	if err := k.hardware.giveKey(ctx, file); err != nil {
		return stored{}, keyFailure(file, fmt.Errorf("%s: %w", credentialsName, err))
	}
	c := newCredentials(file)
	s := stored{credentials: c, data: data, expired: k.hasExpired(c)}
	k.warnOfEndpoint(ctx, c)
	if k.run.p.options.verify != nil {
		// The journal is there until they are verified.
		s.unverified, err = k.journal.Mentions(ctx, c.CertificateID)
	}
	return s, err
}

// keyFailure is about stored credentials whose key cannot be had. A key that is gone is
// the store's matter, a keyring that does not answer is not.
func keyFailure(file *credfile.File, err error) error {
	op := OpPrepare
	if isKeyGone(err) {
		op = OpStore
	}
	return &Error{Op: op, CertificateID: file.CertificateID, Err: err}
}

// warnOfEndpoint warns of credentials from another endpoint, of another account or
// region perhaps, where they are of no use.
func (k *keeper) warnOfEndpoint(ctx context.Context, c *Credentials) {
	if here := k.run.p.link.Endpoint.String(); !strings.EqualFold(c.Endpoint, here) && !k.warned {
		k.warned = true
		k.run.steps.log.warn(ctx, fmt.Sprintf("the store was filled at the endpoint %q, and this is %q: give each endpoint a store of its own", c.Endpoint, here), "certificateId", c.CertificateID)
	}
}

// useLabel makes the run make its key under label, if it makes one in a keyring. The
// credentials of previous.pem go before their key does. The caller calls ended when the
// run needs no key any more.
func (k *keeper) useLabel(ctx context.Context, label string) (ended func(), err error) {
	if label == "" {
		return func() {}, nil
	}
	data, err := k.journal.Files.Read(ctx, previousName)
	if err != nil {
		return nil, err
	}
	if previous, err := credfile.Parse(data); err == nil && previous.KeyLabel == label {
		if err := k.journal.Files.Remove(ctx, previousName); err != nil {
			return nil, err
		}
	}
	k.run.gained.newLabel = label
	k.run.gained.creation, ended = k.hardware.creation(ctx, label, k.run.p.options.format)
	return ended, nil
}

func (k *keeper) keep(ctx context.Context, c *Credentials) error {
	k.run.gained.accepted = c.CertificateID
	data, err := c.MarshalPEM()
	if err != nil {
		return k.run.steps.failed(OpStore, err)
	}
	if err := k.journal.Files.Keep(ctx, credentialsName, data); err != nil {
		return err
	}
	k.run.p.unwritten.Forget(c.PreviousCertificateID)
	return nil
}

func (k *keeper) hasExpired(c *Credentials) bool {
	leaf, _, err := c.chain()
	return err != nil || k.run.p.options.now().After(leaf.NotAfter)
}
