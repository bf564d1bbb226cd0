package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// verify connects as the device. Activation may lag behind the answer that
// announced it, so that a refusal is believed only when the step's time is up.
func (r *run) verify(ctx context.Context, c *Credentials) error {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return &Error{Op: OpVerify, CertificateID: c.CertificateID, Attempts: r.attempt, Err: err}
	}
	if err := r.takeTurn(ctx); err != nil {
		return &Error{Op: OpVerify, CertificateID: c.CertificateID, Attempts: r.attempt, Err: err}
	}
	defer r.giveTurn()
	if r.goodbye != nil {
		<-r.goodbye
	}
	// Policies of devices often pin the client id to the thing name.
	if r.clientID = c.ThingName; r.clientID == "" {
		r.clientID = newClientID()
	}
	if err := r.pace(ctx); err != nil {
		return &Error{Op: OpVerify, CertificateID: c.CertificateID, Attempts: r.attempt, Err: err}
	}
	return r.step(ctx, OpVerify, func(ctx context.Context) error {
		for lag := time.Second; ; lag *= 2 {
			session, err := r.open(ctx, &certificate, r.clientID)
			if err == nil {
				r.disconnect(session)
				return nil
			}
			if ctx.Err() != nil {
				return err
			}
			wait := lag
			if dial := new(dialError); !errors.As(err, &dial) {
				wait = max(lag, clientIDPause) // the server has seen the client id
			}
			if sleepUntilEnd(ctx, ctx, wait) {
				r.connected = time.Now()
				continue
			}
			<-ctx.Done()
			if timeout := new(timeoutError); errors.As(context.Cause(ctx), &timeout) {
				return err
			}
			return fmt.Errorf("%w; the last refusal: %w", ctx.Err(), err)
		}
	})
}
