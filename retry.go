package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// clientIDPause is how far apart connections under one client id are. AWS
// documents one a second; about one in ten seconds is what clients observe.
const clientIDPause = 10 * time.Second

// repeat makes attempts until one succeeds or no other could.
func (r *run) repeat(ctx context.Context) (*Credentials, error) {
	r.began = time.Now()
	var last error
	for {
		r.attempt++
		credentials, err := r.try(ctx)
		switch {
		case err == nil || credentials != nil:
			return credentials, err
		case ctx.Err() != nil:
			return nil, together(err, last)
		case r.attempt == r.maxAttempts || !r.retryIf(err):
			return nil, err
		}
		if err := r.pause(ctx, err); err != nil {
			return nil, err
		}
		last = err
	}
}

// together is the end of the caller's context, with what kept the attempt before it
// from succeeding.
func together(end, last error) error {
	var a, b *Error
	if !errors.As(end, &a) || !errors.As(last, &b) {
		return end
	}
	return &Error{Op: a.Op, CertificateID: a.CertificateID, Attempts: a.Attempts,
		Err: fmt.Errorf("%w; the attempt before failed: %s: %w", a.Err, b.Op, b.Err)}
}

// try makes one attempt, when no other run uses the client id and while the claim
// is valid.
func (r *run) try(ctx context.Context) (*Credentials, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.claim.leaf.NotAfter.Sub(r.now()), r.expired())
	defer cancel()
	if err := r.checkValidity(); err != nil {
		return nil, r.unprepared(err)
	}
	if err := r.takeTurn(ctx); err != nil {
		return nil, r.unprepared(err)
	}
	defer r.giveTurn()
	resumed := r.issued != nil
	credentials, err := r.exchange(ctx)
	if resumed && r.startsOver(err) {
		// Over another connection: on the first a late repeat of the refusal
		// would look like the answer to the next registration.
		return r.exchange(ctx)
	}
	return credentials, err
}

func (r *run) unprepared(err error) error {
	return &Error{Op: OpPrepare, CertificateID: r.certificateID(), Attempts: r.attempt, Err: err}
}

// takeTurn waits until no other run is connected under a fixed client id.
func (r *run) takeTurn(ctx context.Context) error {
	if r.turn == nil {
		return nil
	}
	select {
	case r.connected = <-r.turn:
		return nil
	case <-ctx.Done():
		return endOf(ctx, ctx.Err())
	}
}

func (r *run) giveTurn() {
	if r.turn != nil {
		r.turn <- r.connected
	}
}

// pace waits until a connection under a fixed client id may be opened.
func (r *run) pace(ctx context.Context) error {
	if r.fixedID == nil || r.clientID != *r.fixedID {
		return nil
	}
	if !r.connected.IsZero() && !sleep(ctx, time.Until(r.connected.Add(clientIDPause))) {
		return endOf(ctx, ctx.Err())
	}
	r.connected = time.Now()
	return nil
}

// pause waits for the next attempt after one failed. If ctx would end before that
// attempt, it fails at once, with both reasons.
func (r *run) pause(ctx context.Context, failed error) error {
	wait := r.backoff.Wait(r.attempt, time.Since(r.began), rand.Float64())
	var failure *Error
	if !errors.As(failed, &failure) {
		failure = &Error{Op: OpPrepare}
	}
	ended := func(reason error) error {
		return &Error{Op: failure.Op, CertificateID: r.certificateID(), Attempts: r.attempt,
			Err: fmt.Errorf("%w before the next attempt; the last failed: %w", reason, failure.Err)}
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return ended(context.DeadlineExceeded)
	}
	if r.claim.leaf.NotAfter.Sub(r.now()) <= wait {
		return ended(r.expired())
	}
	r.report(ctx, Progress{Op: failure.Op, Done: true, Attempt: r.attempt, Elapsed: time.Since(r.began), Wait: wait, Err: failed})
	if !sleep(ctx, wait) {
		return ended(endOf(ctx, ctx.Err()))
	}
	return nil
}

// sleep reports whether it was left to sleep.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tokenAge is how long an ownership token lives (AWS developer guide,
// "fleet-provision-api").
const tokenAge = time.Hour

// startsOver reports whether a registration failed because the ownership token of
// an earlier attempt is no longer good, and forgets its certificate then: AWS
// deletes it. The token is tried whatever its age, which is a hint only, since
// clocks jump.
func (r *run) startsOver(err error) bool {
	var rejected *RejectedError
	if !errors.As(err, &rejected) {
		return false
	}
	age := time.Since(r.issuedAt)
	refused := rejected.is("InvalidCertificateOwnershipToken") ||
		rejected.StatusCode == http.StatusBadRequest && (age > tokenAge || age < 0)
	if refused {
		r.issued = nil
	}
	return refused
}
