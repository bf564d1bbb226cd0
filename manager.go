package fleetprov

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/turn"
)

// ErrRenewalDue is the cause for which the context of a session of [Manager.Run] ends
// when the device's certificate is to be renewed: errors.Is(context.Cause(ctx),
// ErrRenewalDue).
var ErrRenewalDue = errors.New("the device's certificate is to be renewed")

// Manager keeps a device's identity for as long as the device lives: it provisions the
// device once, hands its credentials to a session, renews them in time, and begins a
// session again when one ends. Its fields are set before its first method is called,
// and not changed after that; its methods are safe for concurrent use.
type Manager struct {
	Endpoint string // as New takes it
	Template string // what the claim provisions against

	// Claim returns the claim: LoadPFX in a closure. It is called only when the device
	// has to be provisioned. Nil: there is none.
	Claim func(context.Context) (*Identity, error)

	Store      Store
	Parameters map[string]string // of Template

	RenewTemplate   string            // what the device renews against; "": it never renews
	RenewParameters map[string]string // of RenewTemplate; nil: ThingName, the thing's name

	// RenewBefore is how long before the certificate expires a renewal is due, by the
	// wall clock. It is due up to a third of that later, by a hash of the thing name, so
	// that devices made together do not renew together. 0: a third of the certificate's
	// lifetime.
	RenewBefore time.Duration

	Options []Option

	mu      sync.Mutex
	running bool
	wanted  bool             // by RequestRenewal
	waiting []chan<- renewed // calls of Renew
	wake    chan struct{}    // tells Run that something is wanted
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
	return m.credentials(ctx)
}

func (m *Manager) credentials(ctx context.Context, opts ...Option) (*Credentials, error) {
	reader, err := m.provisioner(m.Template, nil, opts)
	if err != nil {
		return nil, err
	}
	k, err := reader.newKeeper(m.Store, false)
	if err != nil {
		return nil, err
	}
	found, err := k.stored(ctx)
	if err != nil || found.isSound() {
		return found.credentials, err
	}
	claim, err := m.claim(ctx)
	switch {
	case err == nil:
	case found.credentials != nil:
		return found.credentials, k.run.steps.failed(OpPrepare, fmt.Errorf("the stored credentials have expired by this clock, or were never verified: %w", err))
	default:
		return nil, k.run.steps.failed(OpPrepare, fmt.Errorf("there are no credentials in the store, and %w", err))
	}
	p, err := m.provisioner(m.Template, claim, opts)
	if err != nil {
		return found.credentials, err
	}
	return p.Ensure(ctx, m.Store, m.Parameters)
}

// claim opens the claim.
func (m *Manager) claim(ctx context.Context) (*Identity, error) {
	if m.Claim == nil {
		return nil, fmt.Errorf("there is no claim to get some with: %w", fs.ErrNotExist)
	}
	claim, err := m.Claim(ctx)
	if err != nil {
		return nil, fmt.Errorf("no claim to get some with: %w", err)
	}
	return claim, nil
}

// provisioner is New with the Manager's settings. Without a claim it reads the store
// only.
func (m *Manager) provisioner(template string, claim *Identity, opts []Option) (*Provisioner, error) {
	p, err := newProvisioner(m.Endpoint, template, claim, append(slices.Clone(m.Options), opts...))
	if err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}
	return p, nil
}

// RequestRenewal makes [Manager.Run] renew the credentials at its next opportunity. It
// returns at once: call it from a job, a signal or a command. Without RenewTemplate it
// does nothing but warn in the log of Run.
func (m *Manager) RequestRenewal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = true
	m.wakeRun()
}

// Renew renews the credentials now, as [Provisioner.Renew] does, with the certificate
// that the device has. While Run runs, Renew asks it to, and waits for what comes of it:
// the session is closed for that. Otherwise the device has closed its session before it
// calls Renew.
func (m *Manager) Renew(ctx context.Context) (*Credentials, error) {
	if m.RenewTemplate == "" {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the Manager has no RenewTemplate to renew against")}
	}
	result := make(chan renewed, 1)
	m.mu.Lock()
	running := m.running
	if running {
		m.waiting = append(m.waiting, result)
		m.wakeRun()
	}
	m.mu.Unlock()
	if !running {
		return m.renew(ctx)
	}
	select {
	case r := <-result:
		return r.credentials, r.err
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waiting = slices.DeleteFunc(m.waiting, func(w chan<- renewed) bool { return w == result })
		return nil, &Error{Op: OpPrepare, Err: ctx.Err()}
	}
}

// wakeRun tells Run that something is wanted, with the lock held.
func (m *Manager) wakeRun() {
	if m.wake == nil {
		m.wake = make(chan struct{}, 1)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// renew replaces the stored credentials with the certificate that they hold.
func (m *Manager) renew(ctx context.Context, opts ...Option) (*Credentials, error) {
	reader, err := m.provisioner(m.RenewTemplate, nil, opts)
	if err != nil {
		return nil, err
	}
	k, err := reader.newKeeper(m.Store, true)
	if err != nil {
		return nil, err
	}
	found, err := k.stored(ctx)
	if err != nil {
		return nil, err
	}
	if found.credentials == nil {
		return nil, k.run.steps.failed(OpStore, fmt.Errorf("there are no credentials to renew: %w", fs.ErrNotExist))
	}
	identity, err := found.credentials.Identity()
	if err != nil {
		return nil, k.run.steps.failed(OpPrepare, err)
	}
	p, err := m.provisioner(m.RenewTemplate, identity, opts)
	if err != nil {
		return nil, err
	}
	parameters := m.RenewParameters
	if parameters == nil {
		parameters = map[string]string{"ThingName": found.credentials.ThingName}
	}
	return p.Renew(ctx, m.Store, parameters)
}

// Run is a device's life. It calls session with the credentials, and again after it has
// ended, until ctx ends. A session connects, as the thing, and serves until its context
// ends; whatever it returns before that is a failure, after which it is called again:
// from two to six seconds later at first, up to two minutes later, and quickly again
// after one that has worked for a minute. There is never more than one session, and two
// begin ten seconds apart at least, since AWS IoT counts connections under one client
// id.
//
// The context of a session ends with the cause [ErrRenewalDue] when the certificate is
// to be renewed. The session closes its connection and returns; Run renews, and calls it
// with the new credentials. One that ignores its context holds up the renewal, which is
// logged every minute. A renewal that fails leaves the device working with what it has,
// and is tried again after an hour, then later and later, but sooner as the certificate
// comes near its end.
//
// Before each session the store is read again: another process may have renewed.
// Credentials that have expired by the device's clock, and cannot be replaced, are used
// all the same, since the clock may be wrong. A device whose certificate AWS refuses
// goes on trying; it never falls back to the claim by itself.
//
// Run returns when ctx ends, with its error; when New would refuse the settings; when
// the device cannot be provisioned for a reason that does not pass; and at once if it
// runs already. What it does is logged as [WithLogger] says.
func (m *Manager) Run(ctx context.Context, session func(context.Context, *Credentials) error) error {
	if session == nil {
		return &Error{Op: OpPrepare, Err: errors.New("the session is nil")}
	}
	if m.RenewTemplate != "" {
		if _, err := m.provisioner(m.RenewTemplate, nil, nil); err != nil {
			return err
		}
	}
	l, err := m.begin()
	if err != nil {
		return err
	}
	defer m.end()
	for {
		c, err := l.credentials(ctx)
		if err != nil {
			return err
		}
		if l.isDue(c) {
			l.renew(ctx, c)
			continue
		}
		if err := l.session(ctx, c, session); err != nil {
			return err
		}
	}
}

// begin makes the Manager one that runs.
func (m *Manager) begin() (*life, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the Manager runs already")}
	}
	m.running = true
	if m.wake == nil {
		m.wake = make(chan struct{}, 1)
	}
	l := &life{m: m, options: newOptions(m.Options), wake: m.wake}
	l.opts = []Option{func(o *options) {
		report := o.progress
		o.progress = func(ctx context.Context, p Progress) {
			if p.Op == OpVerify && p.Done {
				l.connected = time.Now()
			}
			report(ctx, p)
		}
	}}
	return l, nil
}

// end tells those who wait for a renewal that there will be none.
func (m *Manager) end() {
	m.mu.Lock()
	m.running = false
	m.mu.Unlock()
	m.answer(renewed{err: &Error{Op: OpPrepare, Err: errors.New("the Manager has ended before it renewed")}})
}

// wants reports whether a renewal was asked for, and whether somebody waits for it.
func (m *Manager) wants() (wanted, waited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted, len(m.waiting) > 0
}

// answer tells all who wait for a renewal what came of it.
func (m *Manager) answer(r renewed) {
	m.mu.Lock()
	waiting := m.waiting
	m.waiting = nil
	if r.err == nil {
		m.wanted = false
	}
	m.mu.Unlock()
	for _, w := range waiting {
		w <- r
	}
}

const (
	// How long after it began a session counts as one that worked.
	workingTime = time.Minute

	// How often the wall clock is looked at, and a session that does not end is logged.
	lookInterval = time.Minute

	// How long a renewal may keep the device from its work.
	renewalTime = 5 * time.Minute

	// The waits after a renewal that failed.
	minRenewalWait = time.Hour
	maxRenewalWait = 24 * time.Hour
)

// sessionBackoff is the waits after sessions that failed.
var sessionBackoff = backoff.Policy{Min: 2 * time.Second, Max: 2 * time.Minute}

// life is one call of Run, and its goroutine's own.
type life struct {
	m       *Manager
	options *options
	opts    []Option      // for the Provisioners, beside the Manager's
	wake    chan struct{} // the Manager's

	connected time.Time     // when a connection under the thing name was last opened
	failed    backoff.Tally // of sessions, since one that worked
	failedAt  time.Time     // when the last of them did

	renewalFailures int
	renewNext       time.Time // not before then, after a failure

	warned string // the id of the certificate whose end was warned of
}

// credentials returns what the next session connects with.
func (l *life) credentials(ctx context.Context) (*Credentials, error) {
	var tally backoff.Tally
	for began := time.Now(); ; {
		c, err := l.m.credentials(ctx, l.opts...)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case c != nil && err != nil:
			l.options.log.warn(ctx, "the credentials are used all the same", "error", err)
			fallthrough
		case c != nil:
			l.warnOfEnd(ctx, c)
			return c, nil
		case !Retryable(err):
			return nil, err
		}
		tally.Failed(true, time.Since(began))
		began = time.Now()
		wait := sessionBackoff.Wait(tally, false, rand.Float64())
		l.options.log.warn(ctx, "there are no credentials yet; trying again in "+wait.Round(time.Second).String(), "error", err)
		if !backoff.Sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}

// warnOfEnd warns of a certificate that will expire and is not renewed, once.
func (l *life) warnOfEnd(ctx context.Context, c *Credentials) {
	leaf, _, err := c.chain()
	if err != nil || l.m.RenewTemplate != "" || l.warned == c.CertificateID {
		return
	}
	if leaf.NotAfter.Sub(l.options.now()) < 365*24*time.Hour {
		l.warned = c.CertificateID
		l.options.log.warn(ctx, "the certificate expires within a year, and there is no RenewTemplate to renew it against", "notAfter", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

// isDue reports whether the credentials are to be renewed now.
func (l *life) isDue(c *Credentials) bool {
	if l.m.RenewTemplate == "" {
		return false
	}
	wanted, waited := l.m.wants()
	return waited || (wanted || l.isOld(c)) && !time.Now().Before(l.renewNext)
}

// isOld reports whether the time has come to renew the certificate. By a hash of the
// thing name it comes up to a third of RenewBefore later.
func (l *life) isOld(c *Credentials) bool {
	leaf, _, err := c.chain()
	if err != nil {
		return false
	}
	before := cmp.Or(l.m.RenewBefore, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	hash := fnv.New32a()
	hash.Write([]byte(c.ThingName))
	spread := time.Duration(float64(before) / 3 * float64(hash.Sum32()) / (1 << 32))
	return !l.options.now().Before(leaf.NotAfter.Add(spread - before))
}

// renew renews, while no session runs.
func (l *life) renew(ctx context.Context, old *Credentials) {
	if !l.pace(ctx) {
		return
	}
	bounded, cancel := context.WithTimeoutCause(ctx, renewalTime, errRenewalTime)
	defer cancel()
	c, err := l.m.renew(bounded, l.opts...)
	l.connected = time.Now()
	l.m.answer(renewed{c, err})
	if err == nil {
		l.renewalFailures, l.renewNext = 0, time.Time{}
		l.options.log.note(ctx, "the credentials are renewed", "certificateId", c.CertificateID)
		return
	}
	if ctx.Err() != nil {
		return
	}
	l.renewalFailures++
	wait := renewalWait(l.renewalFailures, l.left(old), rand.Float64())
	l.renewNext = time.Now().Add(wait)
	l.options.log.warn(ctx, "the renewal failed; the device goes on with the credentials it has, and tries again in "+wait.Round(time.Second).String(), "error", err)
}

var errRenewalTime = errors.New("the renewal took too long, and the device has to go on working")

// left is how long the certificate is still good.
func (l *life) left(c *Credentials) time.Duration {
	leaf, _, err := c.chain()
	if err != nil {
		return 0
	}
	return leaf.NotAfter.Sub(l.options.now())
}

// renewalWait is how long to wait after so many renewals that failed, with a certificate
// that is good for as long as left: later and later, but sooner as its end comes near.
func renewalWait(failures int, left time.Duration, random float64) time.Duration {
	wait := min(minRenewalWait<<min(failures-1, 10), maxRenewalWait)
	wait = max(min(wait, left/10), time.Minute)
	return wait + time.Duration(random*float64(wait)/2)
}

// pace waits until a connection under the thing name may be opened, and takes it for
// opened then.
func (l *life) pace(ctx context.Context) bool {
	if !l.connected.IsZero() && !backoff.Sleep(ctx, time.Until(l.connected.Add(turn.Pause))) {
		return false
	}
	l.connected = time.Now()
	return true
}

// session runs one session, and waits after one that failed. Its error is the end of
// ctx.
func (l *life) session(ctx context.Context, c *Credentials, session func(context.Context, *Credentials) error) error {
	if !l.pace(ctx) {
		return ctx.Err()
	}
	began := time.Now()
	l.options.log.note(ctx, "a session begins", "thingName", c.ThingName)
	err, due := l.watched(ctx, c, session)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case due:
		l.failed = backoff.Tally{}
		return nil
	case err == nil:
		err = errors.New("it returned before its context ended")
	}
	if l.failed == (backoff.Tally{}) || time.Since(began) >= workingTime {
		l.failed, l.failedAt = backoff.Tally{}, time.Now()
	}
	l.failed.Failed(true, time.Since(l.failedAt))
	l.failedAt = time.Now()
	return l.wait(ctx, c, err)
}

// watched calls session, and reports whether its context was ended for a renewal.
func (l *life) watched(ctx context.Context, c *Credentials, session func(context.Context, *Credentials) error) (err error, due bool) {
	within, cancel := context.WithCancelCause(ctx)
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		l.watch(within, cancel, ended, c)
	}()
	defer func() {
		close(ended)
		<-watched
		cancel(nil)
	}()
	err = session(within, c)
	return err, errors.Is(context.Cause(within), ErrRenewalDue)
}

// watch ends a session when the credentials are to be renewed, and logs one that does
// not end when its context has. It returns when the session has ended.
func (l *life) watch(ctx context.Context, cancel context.CancelCauseFunc, ended <-chan struct{}, c *Credentials) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for ctx.Err() == nil {
		if l.isDue(c) {
			cancel(ErrRenewalDue)
			break
		}
		select {
		case <-look.C:
		case <-l.wake:
			l.warnOfRequest(ctx)
		case <-ctx.Done():
		case <-ended:
			return
		}
	}
	for {
		select {
		case <-look.C:
			l.options.log.warn(ctx, "the session goes on though its context has ended", "cause", context.Cause(ctx))
		case <-ended:
			return
		}
	}
}

// warnOfRequest warns of a request that cannot be met.
func (l *life) warnOfRequest(ctx context.Context) {
	if l.m.RenewTemplate == "" {
		l.options.log.warn(ctx, "a renewal was requested, and there is no RenewTemplate to renew against", "template", l.m.Template)
	}
}

// wait waits before the next session after one that failed, or until a renewal is due.
func (l *life) wait(ctx context.Context, c *Credentials, failed error) error {
	wait := sessionBackoff.Wait(l.failed, false, rand.Float64())
	l.options.log.warn(ctx, "the session failed; another begins in "+wait.Round(time.Millisecond).String(), "error", failed)
	over := time.NewTimer(wait)
	defer over.Stop()
	for !l.isDue(c) {
		select {
		case <-over.C:
			return nil
		case <-l.wake:
			l.warnOfRequest(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
