package fleetprov

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

// step runs one step of the exchange: bounded in time, reported, and with a
// failure that says which step it was, why, and what to do.
func (r *run) step(ctx context.Context, op Op, do func(context.Context) error) error {
	began := time.Now()
	r.report(ctx, Progress{Op: op, Attempt: r.attempt})
	bounded, cancel := context.WithTimeoutCause(ctx, r.stepTimeout, &timeoutError{r.stepTimeout, r.silent(op)})
	defer cancel()

	err := do(bounded)
	if err != nil {
		err = &Error{Op: op, CertificateID: r.certificateID(), Attempts: r.attempt, Err: r.diagnose(bounded, op, err)}
	}
	r.report(ctx, Progress{Op: op, Done: true, Attempt: r.attempt, Elapsed: time.Since(began), Err: err})
	return err
}

func (r *run) diagnose(ctx context.Context, op Op, err error) error {
	if ended := endOf(ctx, err); ended != nil {
		return ended
	}
	var (
		key       *keyError
		store     *storeError
		dial      *dialError
		rejection *exchange.Rejection
	)
	switch {
	case errors.As(err, &key):
		return err
	case errors.As(err, &store):
		return fmt.Errorf("%w; check the free space, the permissions and the mount of the store", err)
	case errors.As(err, &dial):
		return diagnoseDial(dial.err, r.now())
	case errors.As(err, &rejection):
		return fmt.Errorf("%w; %s", diagnoseSession(err, ""), r.rejected(op, rejection.StatusCode))
	default:
		return diagnoseSession(err, r.closed(op))
	}
}

// endOf returns why a step was cut short, or nil if it was not. The caller's
// context errors stand for the caller's context alone.
func endOf(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cause) {
		return nil
	}
	var (
		timeout *timeoutError
		expired *expiredError
	)
	switch {
	case cause == nil:
		return &foreignContext{err}
	case errors.As(cause, &timeout), errors.As(cause, &expired):
		return cause
	case !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case !errors.Is(err, cause):
		return fmt.Errorf("%w: %w", err, cause)
	default:
		return err
	}
}

// report tells the caller and the log of the beginning or end of a step.
func (r *run) report(ctx context.Context, p Progress) {
	r.log.step(ctx, p)
	r.progress(ctx, p)
}

// compareID logs a certificate id that is not the digest of the certificate. It
// has always been, but AWS does not document it.
func (r *run) compareID(ctx context.Context) {
	digest := sha256.Sum256(r.issued.Leaf.Raw)
	if !strings.EqualFold(r.issued.ID, hex.EncodeToString(digest[:])) {
		r.log.warn(ctx, "the certificate id is not the SHA-256 of the certificate",
			slog.String("certificateId", r.issued.ID))
	}
}
