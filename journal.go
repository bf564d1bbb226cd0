package fleetprov

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

// phase is how far a run had come when its journal was written.
type phase string

const (
	phaseProbe    phase = "probe"    // nothing yet: the store takes a file of this size
	phaseCreated  phase = "created"  // there is a certificate, which may be registered by now
	phaseAccepted phase = "accepted" // the certificate is registered
)

// record is what pending.pem holds: a block of its own, and behind it the
// credentials as far as they are known.
type record struct {
	Version  int       `json:"version"`
	Phase    phase     `json:"phase"`
	Renewal  bool      `json:"renewal,omitempty"`
	Template string    `json:"template"`
	Token    string    `json:"ownershipToken,omitempty"`
	Issued   time.Time `json:"issued,omitzero"`

	credentials *Credentials // nil in phaseProbe
}

const (
	blockJournal   = "FLEETPROV JOURNAL"
	blockFiller    = "FLEETPROV FILLER"
	journalVersion = 1

	// probeSize is about the largest journal: an RSA key, a certificate and a few
	// roots.
	probeSize = 16 << 10
)

func (j *record) marshal() ([]byte, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: text})
	if j.Phase == phaseProbe {
		return append(data, pem.EncodeToMemory(&pem.Block{Type: blockFiller, Bytes: make([]byte, probeSize)})...), nil
	}
	credentials, err := j.credentials.MarshalPEM()
	if err != nil {
		return nil, err
	}
	return append(data, credentials...), nil
}

func parseRecord(data []byte) (*record, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != blockJournal {
		return nil, fmt.Errorf("there is no %s block", blockJournal)
	}
	j := new(record)
	if err := json.Unmarshal(block.Bytes, j); err != nil {
		return nil, fmt.Errorf("the journal is damaged: %w", err)
	}
	if j.Version != journalVersion {
		return nil, fmt.Errorf("the journal has version %d and this program knows %d", j.Version, journalVersion)
	}
	switch j.Phase {
	case phaseProbe:
		return j, nil
	case phaseCreated, phaseAccepted:
	default:
		return nil, fmt.Errorf("the journal has an unknown phase %.20q", j.Phase)
	}
	var err error
	if j.credentials, err = parseCredentials(rest); err != nil {
		return nil, err
	}
	return j, nil
}

// storeError is a failure of the caller's Store.
type storeError struct {
	doing string
	err   error
}

func (e *storeError) Error() string { return e.doing + ": " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// get reads from the store. What is not there is nil.
func (r *run) get(ctx context.Context, name string) (data []byte, err error) {
	err = r.step(ctx, OpStore, func(ctx context.Context) error {
		data, err = r.store.Get(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &storeError{"reading " + name, err}
		}
		return nil
	})
	return data, err
}

// put writes to the store once, before AWS has given anything that could be lost.
func (r *run) put(ctx context.Context, name string, data []byte) error {
	return r.step(ctx, OpStore, func(ctx context.Context) error {
		if err := r.store.Put(ctx, name, data); err != nil {
			return &storeError{"writing " + name, err}
		}
		return nil
	})
}

// grace is how long a write of what AWS gave may outlast the caller's context.
const grace = 2 * time.Second

// keep writes what AWS gave to the store. As long as it is in memory the write is
// tried again, until the step's time is up; the end of the caller's context leaves
// it a moment.
func (r *run) keep(ctx context.Context, doing string, write func(context.Context) error) error {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if sleep(lasting, grace) {
			cancel()
		}
	})
	defer stop()
	return r.step(lasting, OpStore, func(lasting context.Context) error {
		var failed error // why the store failed while it had time
		for wait := 100 * time.Millisecond; ; wait *= 2 {
			err := write(lasting)
			if err == nil {
				return nil
			}
			if failed == nil || lasting.Err() == nil {
				failed = err
			}
			if lasting.Err() != nil || !sleepUntilEnd(ctx, lasting, wait) {
				if ctx.Err() != nil && errors.Is(failed, context.Canceled) {
					failed = endOf(ctx, ctx.Err())
				}
				return &storeError{doing, failed}
			}
		}
	})
}

// sleepUntilEnd reports whether there is time for another try after d.
func sleepUntilEnd(ctx, bounded context.Context, d time.Duration) bool {
	if deadline, ok := bounded.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	return sleep(ctx, d)
}

func (r *run) keepFile(ctx context.Context, name string, data []byte) error {
	return r.keep(ctx, "writing "+name, func(ctx context.Context) error { return r.store.Put(ctx, name, data) })
}

// record writes the journal, from which another run goes on if this one ends here.
func (r *run) record(ctx context.Context, p phase, c *Credentials) error {
	j := record{Version: journalVersion, Phase: p, Renewal: r.renewal, Template: r.template, credentials: c}
	if p == phaseCreated {
		j.Token, j.Issued = r.issued.Token, r.issuedAt.UTC()
	}
	data, err := j.marshal()
	if err != nil {
		return &Error{Op: OpStore, CertificateID: r.certificateID(), Attempts: r.attempt, Err: err}
	}
	return r.keep(ctx, "writing "+pendingName, func(ctx context.Context) error {
		err := r.store.Put(ctx, pendingName, data)
		if err == nil || p != phaseCreated || r.store.Delete(ctx, pendingName) != nil {
			return err
		}
		// What was there is of no more use: the proof, or the journal of a
		// certificate whose token was refused. Its room on the disk is.
		return r.store.Put(ctx, pendingName, data)
	})
}

// recordCreated writes the journal of a certificate that is about to be
// registered, once.
func (r *run) recordCreated(ctx context.Context) error {
	if r.recorded == r.issued {
		return nil
	}
	if err := r.record(ctx, phaseCreated, r.credentials(new(exchange.Registered))); err != nil {
		return err
	}
	r.recorded = r.issued
	return nil
}

// probe proves that the store takes a journal, before AWS makes anything. A
// journal that is there proves it by being written again.
func (r *run) probe(ctx context.Context, pending []byte) error {
	if pending == nil {
		j := record{Version: journalVersion, Phase: phaseProbe, Template: r.template}
		var err error
		if pending, err = j.marshal(); err != nil {
			return err
		}
	}
	return r.put(ctx, pendingName, pending)
}

// pending reads the journal, and returns what of it this run can go on from. A
// journal it cannot use is kept aside, unless it tells no more than the credentials
// with the id stored.
func (r *run) pending(ctx context.Context, stored string) (*record, []byte, error) {
	data, err := r.get(ctx, pendingName)
	if err != nil || data == nil {
		return nil, nil, err
	}
	j, err := parseRecord(data)
	switch {
	case err != nil:
		return nil, nil, r.setAside(ctx, data)
	case j.Phase == phaseProbe:
		return nil, nil, nil
	case r.concerns(j, stored):
		if err := r.useHardwareKey(j.credentials); err != nil {
			return nil, nil, err
		}
		return j, data, nil
	case j.credentials.CertificateID == stored:
		return nil, nil, nil
	default:
		return nil, nil, r.setAside(ctx, data)
	}
}

// concerns reports whether a journal is of a run like this one. What AWS has
// accepted is an identity whatever run it was: Ensure takes that of a renewal, and
// Renew that of an Ensure, if it is not the one stored.
func (r *run) concerns(j *record, stored string) bool {
	switch {
	case !strings.EqualFold(j.credentials.Endpoint, r.endpoint.String()):
		return false
	case j.Renewal == r.renewal:
		return j.Template == r.template
	case j.Phase != phaseAccepted:
		return false
	case r.renewal:
		return j.Template == r.template && j.credentials.CertificateID != stored
	default:
		return true
	}
}

// goOn takes up the certificate of a run that ended before it was registered, or
// before it knew.
func (r *run) goOn(j *record) error {
	leaf, chain, err := j.credentials.chain()
	if err != nil {
		return &Error{Op: OpStore, Err: err}
	}
	r.issued = &exchange.Issued{ID: j.credentials.CertificateID, Chain: chain, Leaf: leaf, Key: j.credentials.private.signer, Token: j.Token}
	r.issuedAt, r.recorded = j.Issued, r.issued
	return nil
}

// setAside keeps data that cannot be used under a name of their own: nobody knows
// what they are still good for.
func (r *run) setAside(ctx context.Context, data []byte) error {
	return r.put(ctx, damagedName(data), data)
}

// useHardwareKey gives credentials whose key is not in the file the key of
// WithPrivateKey. That it is missing or another is no damage.
func (r *run) useHardwareKey(c *Credentials) error {
	if c.private != nil {
		return nil
	}
	if r.privateKey == nil {
		return &Error{Op: OpStore, CertificateID: c.CertificateID, Err: errors.New("the private key of the stored credentials lives in hardware: give it with WithPrivateKey")}
	}
	if err := c.SetPrivateKey(r.privateKey); err != nil {
		return &Error{Op: OpStore, CertificateID: c.CertificateID, Err: fmt.Errorf("the stored credentials are for another key than the one of WithPrivateKey: %w", err)}
	}
	return nil
}
