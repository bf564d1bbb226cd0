package fleetprov

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/bounded"
	"github.com/fleetprov/fleetprov/internal/journal"
	"github.com/fleetprov/fleetprov/internal/renewal"
	"github.com/fleetprov/fleetprov/internal/turn"
)

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

	// Options are those of [New]. A renewal proves the new certificate as
	// [WithVerification] does: if AWS takes more than 20 seconds to activate one, it takes
	// a longer [WithStepTimeout], or else the device works on with the old certificate
	// until the next try, an hour later.
	Options []Option

	requests  renewal.Requests[*Credentials] // which Run serves
	unwritten journal.Unwritten              // the Provisioners' of every renewal
	past      backoff.Past                   // of the runs with the claim

	mu        sync.Mutex    // guards what follows
	connected time.Time     // when the device last connected under its thing name
	working   chan struct{} // holds one while Run or Renew has the thing's client id to itself
}

// renewed is what came of a renewal.
type renewed = renewal.Result[*Credentials]

// Credentials returns the device's credentials: those in Store, at once and offline, or
// else new ones, for which it asks Claim and provisions the device as
// [Provisioner.Ensure] does. Credentials that have expired by the device's clock are
// replaced by new ones, or returned together with the error. What a call with a short
// ctx does not wait after a refusal by AWS IoT, the next one waits, or until its own ctx
// ends.
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
	return m.provision(ctx, found, false)
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
// A device with other credentials to work with makes one attempt.
func (m *Manager) provision(ctx context.Context, found stored, other bool) (*Credentials, error) {
	if err := found.notDue(&m.past); err != nil && m.unwritten.Renewed(found.id()) == nil {
		return found.credentials, err
	}
	claim, err := m.claim(ctx, other || found.credentials != nil)
	if err != nil {
		return found.credentials, &Error{Op: OpPrepare, CertificateID: found.id(), Err: fmt.Errorf("%s, and %w", found.lack(), err)}
	}
	opts := m.options()
	if other {
		opts = append(opts, WithMaxAttempts(1))
	}
	p, err := New(m.Endpoint, m.Template, claim, opts...)
	if err != nil {
		return found.credentials, err
	}
	m.past.With(string(claim.leaf.Raw))
	p.unwritten, p.past = &m.unwritten, &m.past
	c, err := p.Ensure(ctx, m.Store, m.Parameters)
	if c == nil {
		c = found.credentials
	}
	return c, err
}

// claim opens the claim. While there is something else to work with, it may not take
// longer than a step.
func (m *Manager) claim(ctx context.Context, other bool) (*Identity, error) {
	if m.Claim == nil {
		return nil, fmt.Errorf("there is no claim to get others with: %w", fs.ErrNotExist)
	}
	if other {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, newOptions(m.Options).stepTimeout)
		defer cancel()
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
	working := m.work()
	m.requests.Ask(result)
	select {
	case working <- struct{}{}: // nobody else renews
		defer func() { <-working }()
		if m.requests.Withdraw(result, false) {
			c, err := m.renewNow(ctx)
			if err == nil {
				m.requests.Answer(renewed{Value: c}) // others who wait for the same
			}
			return c, err
		}
	case <-ctx.Done():
		if m.requests.Withdraw(result, true) {
			return nil, &Error{Op: OpPrepare, Err: ctx.Err()}
		}
	case r := <-result:
		return r.Value, r.Err
	}
	r := <-result // Run was faster
	return r.Value, r.Err
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
	p.unwritten = &m.unwritten
	p.renews = found.id()
	parameters := m.RenewParameters
	if parameters == nil {
		parameters = map[string]string{"ThingName": found.credentials.ThingName}
	}
	return p.Renew(ctx, m.Store, parameters)
}

// RequestRenewal makes [Manager.Run] renew the credentials at its next opportunity, also
// while it waits after a renewal that failed. It returns at once: call it from a job, a
// signal or a command. Without RenewTemplate, Run only warns in its log.
func (m *Manager) RequestRenewal() { m.requests.Ask(nil) }

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
// all the same, since the clock may be wrong; the claim is tried again between sessions,
// as far apart as [WithBackoff] says. A device whose certificate AWS refuses
// goes on trying; it never falls back to the claim by itself.
//
// Run returns when ctx ends, with its error; when New would refuse the settings; when
// the device has no credentials and cannot be provisioned for a reason that does not
// pass ([Retryable]), or has some whose key is gone from hardware; and at once if it runs
// already. It waits for a store that cannot be read. What it does is logged as
// [WithLogger] says.
func (m *Manager) Run(ctx context.Context, session func(context.Context, *Credentials) error) error {
	if session == nil {
		return &Error{Op: OpPrepare, Err: errors.New("the session is nil")}
	}
	if err := m.check(); err != nil {
		return err
	}
	if !m.requests.Serve() {
		return &Error{Op: OpPrepare, Err: errors.New("the Manager runs already")}
	}
	working := m.work()
	select {
	case working <- struct{}{}:
		defer func() { <-working }()
	case <-ctx.Done():
	}
	// Before others may work: who waits for Run is told that it has ended.
	defer m.requests.Leave(&Error{Op: OpPrepare, Err: errors.New("the Manager's Run has ended before it renewed")})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	o := newOptions(m.Options)
	l := &life{m: m, call: session, log: o.log, now: o.now, wake: m.requests.Wake()}
	return l.live(ctx)
}

// work returns the channel that lets one at a time work, and makes it once.
func (m *Manager) work() chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.working == nil {
		m.working = make(chan struct{}, 1)
	}
	return m.working
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

const (
	// How long after it began a session counts as one that worked.
	workingTime = time.Minute

	// How often the wall clock is looked at, and a session that does not end is logged.
	lookInterval = time.Minute

	// How long a renewal may keep the device from its work.
	renewalTime = 5 * time.Minute

	// How long before its end a certificate that is not renewed is warned of.
	warningTime = 365 * 24 * time.Hour
)

// sessionBackoff bounds the waits after sessions that failed.
var sessionBackoff = backoff.Policy{Min: 2 * time.Second, Max: 2 * time.Minute}

// pauses are the waits after failures of one kind. The zero pauses have had none.
type pauses struct {
	failed backoff.Tally
	last   time.Time // when the last failure was
}

// next returns how long to wait after a failure now.
func (p *pauses) next() time.Duration {
	now := time.Now()
	if p.last.IsZero() {
		p.last = now
	}
	p.failed.Failed(true, now.Sub(p.last))
	p.last = now
	return sessionBackoff.Wait(p.failed, false, rand.Float64())
}

var (
	errReturned    = errors.New("it returned before its context ended")
	errRenewalTime = errors.New("the renewal took too long, and the device has to go on working")
)

// life is one call of Run. It is that call's goroutine's, and the watch's while a session
// runs.
type life struct {
	m    *Manager
	call func(context.Context, *Credentials) error // the session
	log  stepLog
	now  func() time.Time // the wall clock
	wake <-chan struct{}  // the Manager's

	current  *Credentials // nil before the first
	due      time.Time    // when they are to be renewed
	notAfter time.Time
	warned   string // the id of the certificate whose end was warned of

	sessions pauses // since one that worked

	renewalFailures int
	renewNext       time.Time // not before then, after a failure
}

// live is Run, while no other Run or Renew works. Its error is never nil.
func (l *life) live(ctx context.Context) error {
	for {
		if err := l.boot(ctx); err != nil {
			return err
		}
		if l.isDue() {
			l.renew(ctx)
			continue
		}
		if err := l.session(ctx); err != nil {
			return err
		}
	}
}

// boot finds the credentials that the next session connects with.
func (l *life) boot(ctx context.Context) error {
	var attempts pauses
	for {
		c, passes, err := l.obtain(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
		case c != nil:
			l.log.warn(ctx, "the stored credentials are used all the same", "error", err)
		case l.current != nil:
			c = l.current
			l.log.warn(ctx, "the device goes on with the credentials it had", "error", err)
		case !passes:
			return err
		}
		if c != nil {
			l.found(ctx, c)
			return nil
		}
		wait := attempts.next()
		l.log.warn(ctx, "there are no credentials yet; trying again in "+wait.Round(time.Second).String(), "error", err)
		if !backoff.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// obtain is Credentials once more. A store or a keyring that cannot be read may pass. A
// store that has lost the credentials of a device at work is no reason to ask for others.
func (l *life) obtain(ctx context.Context) (c *Credentials, passes bool, err error) {
	found, err := l.m.stored(ctx)
	if err != nil || found.isSound() {
		return found.credentials, !isKeyGone(err), err
	}
	if found.credentials == nil && l.current != nil && l.now().Before(l.notAfter) {
		return nil, true, &Error{Op: OpStore, Err: errors.New(found.lack())}
	}
	c, err = l.m.provision(ctx, found, l.current != nil)
	return c, Retryable(err), err
}

// found takes what is in the store. If another process has renewed it, earlier failures to
// do so are over.
func (l *life) found(ctx context.Context, c *Credentials) {
	renewed := l.current != nil && l.current.CertificateID != c.CertificateID
	l.take(ctx, c)
	if renewed && l.now().Before(l.due) {
		l.renewalFailures, l.renewNext = 0, time.Time{}
	}
}

// take makes credentials the current ones.
func (l *life) take(ctx context.Context, c *Credentials) {
	l.current = c
	l.due, l.notAfter = l.m.dueTime(c)
	l.warnOfEnd(ctx)
}

// dueTime returns when a certificate is to be renewed, and when it ends.
func (m *Manager) dueTime(c *Credentials) (due, notAfter time.Time) {
	leaf, _, err := c.chain()
	if err != nil {
		return due, notAfter // they were read before
	}
	return renewal.Due(leaf, m.RenewBefore, cmp.Or(c.ThingName, c.CertificateID)), leaf.NotAfter
}

// warnOfEnd warns of a certificate that will expire and is not renewed, once.
func (l *life) warnOfEnd(ctx context.Context) {
	if l.m.RenewTemplate != "" || l.warned == l.current.CertificateID || l.notAfter.Sub(l.now()) >= warningTime {
		return
	}
	l.warned = l.current.CertificateID
	l.log.warn(ctx, "the certificate expires within a year, and there is no RenewTemplate to renew it against", "notAfter", l.notAfter.UTC().Format(time.RFC3339))
}

// isDue reports whether the credentials are to be renewed now.
func (l *life) isDue() bool {
	if l.m.RenewTemplate == "" {
		return false
	}
	wanted, waited := l.m.requests.Asked()
	return waited || (wanted || !l.now().Before(l.due)) && reached(l.renewNext)
}

// reached reports whether a time has come, by the wall clock or by the time that has
// gone by: the one jumps, and the other may stand still while a device sleeps.
func reached(t time.Time) bool {
	now := time.Now()
	return !now.Before(t) || !now.Round(0).Before(t.Round(0))
}

// renew renews, while no session runs.
func (l *life) renew(ctx context.Context) {
	select {
	case <-l.wake: // the request that is served now
	default:
	}
	bounded, cancel := context.WithTimeoutCause(ctx, renewalTime, errRenewalTime)
	defer cancel()
	c, err := l.m.renewNow(bounded)
	if err == nil || ctx.Err() == nil {
		l.m.requests.Answer(renewed{Value: c, Err: err})
	}
	if err == nil {
		l.log.note(ctx, "the credentials are renewed", "certificateId", c.CertificateID)
		l.take(ctx, c)
		if l.now().Before(l.due) {
			l.renewalFailures, l.renewNext = 0, time.Time{}
			return
		}
	}
	if ctx.Err() != nil {
		return
	}
	l.renewalFailures++
	wait := renewal.Wait(l.renewalFailures, l.notAfter.Sub(l.now()), rand.Float64())
	l.renewNext = time.Now().Add(wait)
	again := wait.Round(time.Second).String()
	if err == nil {
		l.log.warn(ctx, "by this clock the new certificate is to be renewed already: check the clock; it is renewed again in "+again, "notAfter", l.notAfter.UTC().Format(time.RFC3339))
		return
	}
	l.log.warn(ctx, "the renewal failed; the device goes on with the credentials it has, and tries again in "+again, "error", err)
}

// session runs one session, and waits after one that failed. Its error is the end of
// ctx.
func (l *life) session(ctx context.Context) error {
	if !l.m.pace(ctx) {
		return ctx.Err()
	}
	began := time.Now()
	l.log.note(ctx, "a session begins", "thingName", l.current.ThingName)
	err, due := l.watched(ctx)
	if time.Since(began) >= workingTime {
		l.sessions = pauses{}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case due:
		return nil
	case err == nil:
		err = errReturned
	}
	return l.wait(ctx, err)
}

// watched calls the session, and reports whether its context was ended for a renewal.
func (l *life) watched(ctx context.Context) (err error, due bool) {
	within, cancel := context.WithCancelCause(ctx)
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		l.watch(within, cancel, ended)
	}()
	defer func() { // also if the session panics
		close(ended)
		<-watched
		cancel(nil)
	}()
	err = l.call(within, l.current)
	return err, errors.Is(context.Cause(within), ErrRenewalDue)
}

// watch ends a session when the credentials are to be renewed, and logs one that does
// not end when its context has. It returns when the session has ended.
func (l *life) watch(ctx context.Context, cancel context.CancelCauseFunc, ended <-chan struct{}) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for ctx.Err() == nil {
		if l.isDue() {
			l.log.note(ctx, "the session is to end, for a renewal", "certificateId", l.current.CertificateID)
			cancel(ErrRenewalDue)
			break
		}
		select {
		case <-look.C:
			l.warnOfEnd(ctx)
		case <-l.wake:
			l.requested(ctx)
		case <-ctx.Done():
		case <-ended:
			return
		}
	}
	look.Reset(lookInterval)
	for {
		select {
		case <-look.C:
			l.log.warn(ctx, "the session goes on though its context has ended", "cause", context.Cause(ctx))
		case <-ended:
			return
		}
	}
}

// requested is for a new request: it does not wait because an earlier renewal failed. One
// that cannot be met is warned of.
func (l *life) requested(ctx context.Context) {
	l.renewNext = time.Time{}
	if l.m.RenewTemplate == "" {
		l.log.warn(ctx, "a renewal was requested, and there is no RenewTemplate to renew against", "template", l.m.Template)
	}
}

// wait waits before the next session after one that failed, or until a renewal is due.
func (l *life) wait(ctx context.Context, failed error) error {
	wait := l.sessions.next()
	l.log.warn(ctx, "the session failed; another begins in "+wait.Round(time.Millisecond).String(), "error", failed)
	over := time.NewTimer(wait)
	defer over.Stop()
	for !l.isDue() {
		select {
		case <-over.C:
			return nil
		case <-l.wake:
			l.requested(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
