package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/bounded"
	"github.com/fleetprov/fleetprov/internal/turn"
)

// ErrRenewalDue is the cause for which the context of a session of [Manager.Run] ends
// when the device's certificate is to be renewed: errors.Is(context.Cause(ctx),
// ErrRenewalDue).
var ErrRenewalDue = errors.New("the device's certificate is to be renewed")

// Manager keeps a device's identity for as long as the device lives: it provisions the
// device once, hands its credentials to a session, renews them in time, and begins a
// session again when one ends. Its fields are set before its first method is called,
// and not changed after that; its methods are safe for concurrent use. It must not be
// copied.
type Manager struct {
	Endpoint string // as New takes it
	Template string // what the claim provisions against

	// Claim returns the claim: LoadPFX in a closure. It is called only when the device
	// has no credentials, or none that look sound. Nil: there is none.
	Claim func(context.Context) (*Identity, error)

	Store      Store
	Parameters map[string]string // of Template

	RenewTemplate   string            // what the device renews against; "": it never renews
	RenewParameters map[string]string // of RenewTemplate; nil: ThingName, the thing's name

	// RenewBefore is how long before the certificate expires a renewal is due, by the
	// wall clock. It is due up to a third of that later, by a hash of the thing name, so
	// that devices made together do not renew together. 0, or all of the certificate's
	// lifetime or more: a third of its lifetime.
	RenewBefore time.Duration

	Options []Option

	mu        sync.Mutex       // guards what follows
	running   bool             // whether there is a Run
	wanted    bool             // a renewal, by RequestRenewal
	waiting   []chan<- renewed // calls of Renew
	connected time.Time        // when the device last connected under its thing name

	// Made by channels, and not changed after that.
	wake    chan struct{} // holds one while there is something wanted that Run has not seen
	working chan struct{} // holds one while Run or Renew has the thing's client id to itself
}

// renewed is what came of a renewal.
type renewed struct {
	credentials *Credentials
	err         error
}

// Credentials returns the device's credentials: those in Store, at once and offline, or
// else new ones, for which it asks Claim and provisions the device as
// [Provisioner.Ensure] does. Credentials that have expired by the device's clock are
// replaced by new ones, or returned together with the error.
//
// With nothing stored and no claim, because Claim is nil or its error wraps
// [fs.ErrNotExist], it fails with an error that says both and wraps fs.ErrNotExist.
func (m *Manager) Credentials(ctx context.Context) (*Credentials, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	found, err := m.stored(ctx)
	if err != nil || found.isSound() {
		return found.credentials, err
	}
	return m.provision(ctx, found)
}

// check refuses settings that New would refuse, or that make no sense.
func (m *Manager) check() error {
	if _, err := m.reader(m.Template); err != nil {
		return err
	}
	if m.RenewTemplate != "" {
		if _, err := m.reader(m.RenewTemplate); err != nil {
			return err
		}
	}
	switch {
	case m.Store == nil:
		return &Error{Op: OpPrepare, Err: errors.New("the store is nil")}
	case m.RenewBefore < 0:
		return &Error{Op: OpPrepare, Err: fmt.Errorf("RenewBefore is %v: it must be 0, for a third of the certificate's lifetime, or more", m.RenewBefore)}
	}
	return nil
}

// reader returns a Provisioner that reads the store, and no more.
func (m *Manager) reader(template string) (*Provisioner, error) {
	p, err := newProvisioner(m.Endpoint, template, nil, m.options())
	if err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}
	return p, nil
}

// options returns Options, and one that notes when the device connects under its thing
// name, or under a client id that may be the same.
func (m *Manager) options() []Option {
	return append(slices.Clone(m.Options), func(o *options) {
		report := o.progress
		if report == nil {
			return // which is refused
		}
		o.progress = func(ctx context.Context, p Progress) {
			if p.Done && (p.Op == OpVerify || p.Op == OpConnect && o.clientID != nil) {
				m.hasConnected()
			}
			report(ctx, p)
		}
	})
}

// stored reads the store.
func (m *Manager) stored(ctx context.Context) (stored, error) {
	p, err := m.reader(m.Template)
	if err != nil {
		return stored{}, err
	}
	k, err := p.newKeeper(m.Store, false)
	if err != nil {
		return stored{}, err
	}
	return k.stored(ctx)
}

// provision asks for the claim, and gets credentials in the place of those that were
// found, if any.
func (m *Manager) provision(ctx context.Context, found stored) (*Credentials, error) {
	claim, err := m.claim(ctx)
	if err != nil {
		return found.credentials, &Error{Op: OpPrepare, CertificateID: found.id(), Err: fmt.Errorf("%s, and %w", found.lack(), err)}
	}
	p, err := New(m.Endpoint, m.Template, claim, m.options()...)
	if err != nil {
		return found.credentials, err
	}
	c, err := p.Ensure(ctx, m.Store, m.Parameters)
	if c == nil {
		c = found.credentials
	}
	return c, err
}

// claim opens the claim.
func (m *Manager) claim(ctx context.Context) (*Identity, error) {
	if m.Claim == nil {
		return nil, fmt.Errorf("there is no claim to get others with: %w", fs.ErrNotExist)
	}
	claim, err := bounded.Read(ctx, "opening the claim", m.Claim)
	switch {
	case err != nil:
		return nil, fmt.Errorf("no claim to get others with: %w", err)
	case claim == nil:
		return nil, errors.New("no claim to get others with: Claim returned neither a claim nor an error")
	default:
		return claim, nil
	}
}

// Renew renews the credentials now, as [Provisioner.Renew] does, with the certificate
// that the device has. Outside of Run, the device has closed its session before it calls
// Renew.
//
// While Run runs, Renew asks it to, and waits for what comes of it: the session is
// closed for that. So a session that waits for Renew waits for itself: it calls
// RequestRenewal, and returns when its context ends. When ctx ends first, Run renews all
// the same. When Run ends first, Renew fails.
func (m *Manager) Renew(ctx context.Context) (*Credentials, error) {
	err := m.check()
	switch {
	case err != nil:
		return nil, err
	case m.RenewTemplate == "":
		return nil, &Error{Op: OpPrepare, Err: errors.New("the Manager has no RenewTemplate to renew against")}
	case ctx.Err() != nil:
		return nil, &Error{Op: OpPrepare, Err: ctx.Err()}
	}
	result := make(chan renewed, 1)
	_, working := m.channels()
	m.ask(result)
	select {
	case working <- struct{}{}: // nobody else renews
		defer func() { <-working }()
		if m.withdraw(result, false) {
			c, err := m.renewNow(ctx)
			if err == nil {
				m.answer(renewed{c, nil}) // others who wait for the same
			}
			return c, err
		}
	case <-ctx.Done():
		if m.withdraw(result, true) {
			return nil, &Error{Op: OpPrepare, Err: ctx.Err()}
		}
	case r := <-result:
		return r.credentials, r.err
	}
	r := <-result // Run was faster
	return r.credentials, r.err
}

// renewNow renews while no session runs, and no other renewal.
func (m *Manager) renewNow(ctx context.Context) (*Credentials, error) {
	if !m.pace(ctx) {
		return nil, &Error{Op: OpPrepare, Err: ctx.Err()}
	}
	defer m.hasConnected()
	return m.renew(ctx)
}

// renew replaces the stored credentials, with the certificate that they hold.
func (m *Manager) renew(ctx context.Context) (*Credentials, error) {
	found, err := m.stored(ctx)
	switch {
	case err != nil:
		return nil, err
	case found.unreadable != nil:
		return nil, &Error{Op: OpStore, Err: fmt.Errorf("the credentials to renew: %w", found.unreadable)}
	case found.credentials == nil:
		return nil, &Error{Op: OpStore, Err: fmt.Errorf("there are no credentials to renew: %w", fs.ErrNotExist)}
	}
	identity, err := found.credentials.Identity()
	if err != nil {
		return nil, &Error{Op: OpPrepare, CertificateID: found.id(), Err: err}
	}
	p, err := New(m.Endpoint, m.RenewTemplate, identity, m.options()...)
	if err != nil {
		return nil, err
	}
	parameters := m.RenewParameters
	if parameters == nil {
		parameters = map[string]string{"ThingName": found.credentials.ThingName}
	}
	return p.Renew(ctx, m.Store, parameters)
}

// RequestRenewal makes [Manager.Run] renew the credentials at its next opportunity. It
// returns at once: call it from a job, a signal or a command. Without RenewTemplate it
// does nothing but warn in the log of Run.
func (m *Manager) RequestRenewal() { m.ask(nil) }

// Run is a device's life. It calls session with the credentials, and again after it has
// ended, until ctx ends. A session connects, as the thing, and serves until its context
// ends; whatever it returns before that is a failure, after which it is called again:
// from two to six seconds later at first, up to two minutes later, and quickly again
// after one that has worked for a minute. There is never more than one session, and two
// begin ten seconds apart at least, since AWS IoT counts connections under one client
// id.
//
// The context of a session ends with the cause [ErrRenewalDue] when the certificate is
// to be renewed. The session closes its connection and returns; Run renews, for five
// minutes at most, and calls it with the new credentials. One that ignores its context
// holds up the renewal, which is logged every minute. A renewal that fails leaves the
// device working with what it has, and is tried again after an hour, then later and
// later, but sooner as the certificate comes near its end.
//
// Before each session the store is read again: another process may have renewed. If it
// cannot be read, or is empty, the device works with the credentials it had.
// Credentials that have expired by the device's clock, and cannot be replaced, are used
// all the same, since the clock may be wrong. A device whose certificate AWS refuses
// goes on trying; it never falls back to the claim by itself.
//
// Run returns when ctx ends, with its error; when New would refuse the settings; when
// the device has no credentials and cannot be provisioned for a reason that does not
// pass ([Retryable], but it waits for a store that cannot be read); and at once if it
// runs already. What it does is logged as [WithLogger] says.
func (m *Manager) Run(ctx context.Context, session func(context.Context, *Credentials) error) error {
	if session == nil {
		return &Error{Op: OpPrepare, Err: errors.New("the session is nil")}
	}
	if err := m.check(); err != nil {
		return err
	}
	if !m.begin() {
		return &Error{Op: OpPrepare, Err: errors.New("the Manager runs already")}
	}
	defer m.end()
	wake, working := m.channels()
	select {
	case working <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-working }()
	o := newOptions(m.Options)
	l := &life{m: m, call: session, log: o.log, now: o.now, wake: wake}
	return l.live(ctx)
}

// channels makes the channels, once.
func (m *Manager) channels() (wake, working chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake == nil {
		m.wake, m.working = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	return m.wake, m.working
}

// begin makes the Manager one that runs, unless it does.
func (m *Manager) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	began := !m.running
	m.running = true
	return began
}

// end tells those who wait for Run to renew that it will not.
func (m *Manager) end() {
	m.mu.Lock()
	m.running = false
	m.mu.Unlock()
	m.answer(renewed{err: &Error{Op: OpPrepare, Err: errors.New("the Manager's Run has ended before it renewed")}})
}

// ask asks for a renewal, for one who waits for the result or for nobody, and wakes Run.
func (m *Manager) ask(result chan<- renewed) {
	wake, _ := m.channels()
	m.mu.Lock()
	defer m.mu.Unlock()
	if result == nil {
		m.wanted = true
	} else {
		m.waiting = append(m.waiting, result)
	}
	select {
	case wake <- struct{}{}:
	default:
	}
}

// asked reports whether a renewal was asked for, and whether somebody waits for it.
func (m *Manager) asked() (wanted, waited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted, len(m.waiting) > 0
}

// withdraw makes one who waits wait no longer, and reports whether nobody has answered.
// If it stands, Run renews all the same.
func (m *Manager) withdraw(result chan<- renewed, stands bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.waiting, result)
	if i < 0 {
		return false
	}
	m.waiting = slices.Delete(m.waiting, i, i+1)
	m.wanted = m.wanted || stands && m.running
	return true
}

// answer tells all who wait for a renewal what came of it.
func (m *Manager) answer(r renewed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, result := range m.waiting {
		result <- r // which has room for it
	}
	m.waiting = nil
	if r.err == nil {
		m.wanted = false
	}
}

// pace waits until a connection under the thing name may be opened, and takes it for
// opened then. It reports whether ctx still lives.
func (m *Manager) pace(ctx context.Context) bool {
	m.mu.Lock()
	last := m.connected
	m.mu.Unlock()
	if !last.IsZero() && !backoff.Sleep(ctx, time.Until(last.Add(turn.Pause))) {
		return false
	}
	m.hasConnected()
	return ctx.Err() == nil
}

// hasConnected notes that the device has connected now.
func (m *Manager) hasConnected() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connected = time.Now()
}
