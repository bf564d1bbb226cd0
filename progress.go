package fleetprov

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/exchange"
)

// Progress is the beginning or the end of a step.
type Progress struct {
	Op      Op
	Done    bool          // whether the step has ended
	Attempt int           // from 1
	Elapsed time.Duration // since the step began; since the first attempt did, if Wait is set
	Wait    time.Duration // until the next attempt; set in a report of its own
	Err     error         // why the step failed, or nil
}

// gained is what a run has gained for its device. The exchange adds to it; a run on a
// store begins with what the journal holds.
type gained struct {
	creation exchange.Creation // how it gets a certificate

	// issued is the certificate that is registered again after a failure, rather
	// than made again.
	issued   *exchange.Issued
	issuedAt time.Time
	keyLabel string // of its key in a keyring
	newLabel string // of the key that is made for the next one
	asked    bool   // a registration was asked for whose outcome is not known

	// unread are the credentials that AWS accepted with an answer that could not be
	// read. The registration is repeated once, for the thing name.
	unread *Credentials

	refusedFor time.Duration // how long AWS IoT had refused the device before this run
	accepted   string        // the id of a certificate that AWS has accepted before this run
	abandoned  []string      // the ids of certificates that may be active, and that the device gave up
}

// certificateID names the certificate, if there is one.
func (g *gained) certificateID() string {
	if g.issued == nil {
		return g.accepted
	}
	return g.issued.ID
}

// abandon notes certificates that may be active.
func (g *gained) abandon(ids ...string) {
	for _, id := range ids {
		if id != "" && !slices.Contains(g.abandoned, id) {
			g.abandoned = append(g.abandoned, id)
		}
	}
}

// abandonedBeside are those that were given up, without the one with the id own.
func (g *gained) abandonedBeside(own string) (ids []string) {
	for _, id := range g.abandoned {
		if id != own {
			ids = append(ids, id)
		}
	}
	return ids
}

// steps takes the steps of one run. It owns the number of the attempt under way, which
// the run sets.
type steps struct {
	attempt    int
	timeout    time.Duration
	parameters map[string]string // of the run, whose values no error text repeats
	gained     *gained           // the run's, which is only read here
	now        func() time.Time
	log        stepLog
	progress   func(context.Context, Progress)
}

// take takes one step: bounded in time, reported, and with a failure that says which
// step it was, why, and what to do.
func (s *steps) take(ctx context.Context, op Op, hints diagnosis.Hints, do func(context.Context) error) error {
	began := time.Now()
	s.report(ctx, Progress{Op: op})
	bounded, cancel := context.WithTimeoutCause(ctx, s.timeout, &diagnosis.TimeoutError{After: s.timeout, Hints: hints})
	defer cancel()

	err := do(bounded)
	if err != nil {
		err = s.failed(op, s.explain(bounded, hints, err))
	}
	s.report(ctx, Progress{Op: op, Done: true, Elapsed: time.Since(began), Err: err})
	return err
}

// store takes a step in the caller's store.
func (s *steps) store(ctx context.Context, doing string, do func(context.Context) error) error {
	return s.take(ctx, OpStore, &diagnosis.Store{Doing: doing}, do)
}

// keyring takes a step that asks a keyring. Its error is not an *Error yet.
func (s *steps) keyring(ctx context.Context, do func(context.Context) error) error {
	err := s.take(ctx, OpPrepare, new(diagnosis.Keyring), do)
	if failure := new(Error); errors.As(err, &failure) {
		return failure.Err
	}
	return err
}

func (s *steps) explain(ctx context.Context, hints diagnosis.Hints, err error) error {
	var rejection *exchange.Rejection
	if errors.As(err, &rejection) {
		return fmt.Errorf("%w; %s", newRejectedError(rejection, err, s.parameters), hints.Rejected(rejection))
	}
	return diagnosis.Explain(ctx, hints, err, s.now())
}

// failed is the failure of op in the attempt under way. It is not inlined, since it is
// called in many places, and a device pays for each of them.
//
//go:noinline
func (s *steps) failed(op Op, err error) *Error {
	return &Error{Op: op, CertificateID: s.gained.certificateID(), Attempts: s.attempt, Err: err}
}

// report tells the caller and the log of the beginning or end of a step, in the
// attempt under way.
func (s *steps) report(ctx context.Context, p Progress) {
	p.Attempt = s.attempt
	s.log.step(ctx, p)
	s.progress(ctx, p)
}

// interrupted says why no further attempt was made, and what the last failure was.
// The failure of an attempt is an *Error.
func (s *steps) interrupted(err error) error {
	end, ok := err.(*backoff.Interrupted)
	if !ok {
		return err
	}
	last := end.Last.(*Error)
	if now, ok := end.Reason.(*Error); ok { // in an attempt
		return s.failed(now.Op, fmt.Errorf("%w; the attempt before failed: %s: %w", now.Err, last.Op, last.Err))
	}
	return s.failed(last.Op, fmt.Errorf("%w before the next attempt; the last failed: %w", end.Reason, last.Err))
}

// afterAcceptance is the failure of a run that comes with credentials, because AWS has
// accepted the registration, in an answer that could not be read.
func (s *steps) afterAcceptance(err error) error {
	var failure *Error
	switch {
	case !errors.As(err, &failure):
		return err
	case errors.Is(err, ErrBadResponse): // the answer itself
		return s.failed(failure.Op, fmt.Errorf("%w: keep the credentials that come with this error", failure.Err))
	}
	return s.failed(failure.Op, fmt.Errorf("%w; AWS IoT has accepted the registration before: keep the credentials that come with this error", failure.Err))
}

// stepLog is where steps are logged.
type stepLog interface {
	step(context.Context, Progress)
	warn(ctx context.Context, message, key string, value any)
	note(ctx context.Context, message, key string, value any)
}

// defaultLog is the log of a program that gives no logger: the standard one of package
// log. It speaks of what the caller is not told in another way: a failure that will be
// tried again, and warnings. The handlers of log/slog would cost a device 78 kB.
type defaultLog struct{}

func (defaultLog) step(_ context.Context, p Progress) {
	switch wait := p.Wait.Round(time.Millisecond); {
	case p.Wait > 0 && p.Err != nil:
		log.Printf("%v; trying again in %v", p.Err, wait)
	case p.Wait > 0:
		log.Printf("fleetprov: AWS IoT refused the device before it restarted; trying again in %v", wait)
	}
}

func (defaultLog) warn(_ context.Context, message, key string, value any) {
	log.Printf("fleetprov: %s (%s %q)", message, key, fmt.Sprint(value))
}

func (defaultLog) note(context.Context, string, string, any) {}

// noLog is the log of a program that wants none.
type noLog struct{}

func (noLog) step(context.Context, Progress)            {}
func (noLog) warn(context.Context, string, string, any) {}
func (noLog) note(context.Context, string, string, any) {}

// structuredLog is the log that WithLogger sets.
type structuredLog struct{ logger *slog.Logger }

func (l structuredLog) step(ctx context.Context, p Progress) {
	level, message := slog.LevelDebug, "step begins"
	attributes := []slog.Attr{slog.String("op", string(p.Op)), slog.Int("attempt", p.Attempt)}
	if p.Done {
		if level, message = slog.LevelInfo, "step done"; p.Op == OpStore {
			level = slog.LevelDebug // a boot with nothing to do is not worth an Info line
		}
		attributes = append(attributes, slog.Duration("elapsed", p.Elapsed))
	}
	if p.Err != nil {
		level, message = slog.LevelWarn, "step failed"
		attributes = append(attributes, slog.Any("error", p.Err))
	}
	if p.Wait > 0 {
		level, message = slog.LevelInfo, "will try again"
		attributes = append(attributes, slog.Duration("wait", p.Wait))
	}
	l.logger.LogAttrs(ctx, level, message, attributes...)
}

func (l structuredLog) warn(ctx context.Context, message, key string, value any) {
	l.logger.LogAttrs(ctx, slog.LevelWarn, message, slog.Any(key, value))
}

func (l structuredLog) note(ctx context.Context, message, key string, value any) {
	l.logger.LogAttrs(ctx, slog.LevelInfo, message, slog.Any(key, value))
}
