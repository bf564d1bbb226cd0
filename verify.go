package fleetprov

import (
	"context"
	"time"
)

// verify connects as the device. Activation may lag behind the answer that
// announced it, so that a refusal is believed only when the step's time is up.
func (r *run) verify(ctx context.Context, c *Credentials) error {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return &Error{Op: OpVerify, CertificateID: r.certificateID, Attempts: r.attempt, Err: err}
	}
	// Policies of devices often pin the client id to the thing name.
	if r.clientID = c.ThingName; r.clientID == "" {
		r.clientID = newClientID()
	}
	return r.step(ctx, OpVerify, func(ctx context.Context) error {
		var refused error
		for wait := time.Second; ; wait *= 2 {
			session, err := r.open(ctx, &certificate, r.clientID)
			if err == nil {
				session.Close()
				return nil
			}
			if ctx.Err() == nil || refused == nil {
				refused = err
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return refused
			}
		}
	})
}
