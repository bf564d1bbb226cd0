package fleetprov

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
)

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
	errStillDue    = errors.New("by this clock the new certificate is to be renewed already: check the clock")
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
			l.take(ctx, c)
			return nil
		}
		wait := attempts.next()
		l.log.warn(ctx, "there are no credentials yet; trying again in "+wait.Round(time.Second).String(), "error", err)
		if !backoff.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// obtain is Credentials once more. A store or a keyring that cannot be read may pass.
func (l *life) obtain(ctx context.Context) (c *Credentials, passes bool, err error) {
	found, err := l.m.stored(ctx)
	if err != nil || found.isSound() {
		return found.credentials, !isKeyGone(err), err
	}
	c, err = l.m.provision(ctx, found)
	return c, Retryable(err), err
}

// take makes credentials the current ones.
func (l *life) take(ctx context.Context, c *Credentials) {
	l.current = c
	l.due, l.notAfter = l.m.dueTime(c)
	l.warnOfEnd(ctx)
}

// dueTime returns when a certificate is to be renewed, and when it ends. By a hash of
// the thing name it comes up to a third of RenewBefore later.
func (m *Manager) dueTime(c *Credentials) (due, notAfter time.Time) {
	leaf, _, err := c.chain()
	if err != nil {
		return due, notAfter // they were read before
	}
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	before := m.RenewBefore
	if before == 0 || before >= lifetime {
		before = lifetime / 3
	}
	hash := fnv.New64a()
	hash.Write([]byte(cmp.Or(c.ThingName, c.CertificateID)))
	part := float64(hash.Sum64()>>11) / (1 << 53)
	return leaf.NotAfter.Add(-before + time.Duration(part*float64(before/3))), leaf.NotAfter
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
	wanted, waited := l.m.asked()
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
	bounded, cancel := context.WithTimeoutCause(ctx, renewalTime, errRenewalTime)
	defer cancel()
	c, err := l.m.renewNow(bounded)
	if err == nil || ctx.Err() == nil {
		l.m.answer(renewed{c, err})
	}
	if err == nil {
		l.log.note(ctx, "the credentials are renewed", "certificateId", c.CertificateID)
		if due, _ := l.m.dueTime(c); l.now().Before(due) {
			l.renewalFailures, l.renewNext = 0, time.Time{}
			return
		}
		err = errStillDue
	}
	if ctx.Err() != nil {
		return
	}
	l.renewalFailures++
	wait := renewalWait(l.renewalFailures, l.notAfter.Sub(l.now()), rand.Float64())
	l.renewNext = time.Now().Add(wait)
	l.log.warn(ctx, "the renewal failed; the device goes on with the credentials it has, and tries again in "+wait.Round(time.Second).String(), "error", err)
}

// renewalWait is how long to wait after so many renewals that failed, with a certificate
// that is good for as long as left: later and later, but sooner as its end comes near.
// One that has ended works all the same if it is the clock that is wrong.
func renewalWait(failures int, left time.Duration, random float64) time.Duration {
	wait := min(minRenewalWait<<min(failures-1, 10), maxRenewalWait)
	if left > 0 {
		wait = max(min(wait, left/10), time.Minute)
	}
	return wait + time.Duration(random*float64(wait)/2)
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
			l.warnOfRequest(ctx)
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

// warnOfRequest warns of a request that cannot be met.
func (l *life) warnOfRequest(ctx context.Context) {
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
			l.warnOfRequest(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
