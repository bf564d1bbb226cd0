// Package journal keeps in a store how far a device has come with its provisioning,
// so that the next run goes on where this one was cut off.
//
// There is one journal, pending.pem. It is written before a certificate is registered
// (phase created) and when AWS has accepted it (phase accepted), and deleted when the
// credentials are stored. Before AWS makes anything, a file of the same size proves
// that the store takes one (phase probe).
package journal

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/credfile"
)

// Name is the journal's name in the store.
const Name = "pending.pem"

// Journal is the journal of one run. The run alone may use it, while it has the lock
// of the store, if there is one.
type Journal struct {
	Files    Files
	Endpoint string // host:port
	Template string
	Renewal  bool // whether the run replaces credentials

	found      []byte  // the journal that the run goes on from
	created    *record // what the store holds in phase created, or nil
	current    *record // what the store holds, as far as this run has read or written it
	refusedFor int64   // see record.RefusedSeconds
}

// Pending is what a run can go on from.
type Pending struct {
	Credentials *credfile.File // nil if there is nothing
	Accepted    bool           // whether AWS has accepted the registration
	Token       string         // the ownership token, unless it is accepted
	Issued      time.Time      // when AWS issued the certificate, by the clock of that time
	Refused     bool           // AWS has refused the registration in words: the certificate is not active

	// Abandoned are the ids of certificates that may be active, and that earlier runs or
	// this reading gave up.
	Abandoned []string

	// KeyLabel is the label in a keyring under which an earlier run was about to make
	// its key, or "".
	KeyLabel string

	// RefusedFor is how long AWS IoT had refused the device when that was last written.
	RefusedFor time.Duration
}

// Read returns what this run can go on from. A journal that it cannot use is set
// aside, unless it tells no more than the stored credentials, which have the id
// stored. What is stored was accepted, although the journal may not have come to say so.
func (j *Journal) Read(ctx context.Context, stored string) (*Pending, error) {
	data, err := j.Files.Read(ctx, Name)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return new(Pending), nil
	}
	r, err := parse(data)
	switch {
	case err != nil:
		return j.setAside(ctx, data, credfile.Named(data)...)
	case r.Phase == phaseProbe:
		j.refusedFor = r.RefusedSeconds
		return &Pending{Abandoned: r.Abandoned, KeyLabel: r.KeyLabel, RefusedFor: r.refusedFor()}, nil
	case j.concerns(r, stored):
		j.found, j.current, j.refusedFor = data, r, r.RefusedSeconds
		p := &Pending{
			Credentials: r.credentials,
			Abandoned:   r.credentials.AbandonedCertificateIDs,
			KeyLabel:    r.credentials.KeyLabel,
			RefusedFor:  r.refusedFor(),
		}
		if r.Phase == phaseAccepted || r.credentials.CertificateID == stored {
			p.Accepted = true
			return p, nil
		}
		j.created = r
		p.Token, p.Issued, p.Refused = r.Token, r.Issued, r.Refused
		return p, nil
	case r.credentials.CertificateID == stored:
		return new(Pending), nil
	default:
		return j.setAside(ctx, data, givenUp(r.credentials, r.Refused)...)
	}
}

// givenUp are the certificates that may be active and that are given up with a journal.
func givenUp(c *credfile.File, refused bool) []string {
	if refused {
		return c.AbandonedCertificateIDs
	}
	return append(slices.Clone(c.AbandonedCertificateIDs), c.CertificateID)
}

// GiveUp sets aside the journal that Read has returned, whose certificate cannot be
// used.
func (j *Journal) GiveUp(ctx context.Context, p *Pending) (*Pending, error) {
	data := j.found
	j.found, j.created, j.current = nil, nil, nil
	given, err := j.setAside(ctx, data, givenUp(p.Credentials, p.Refused)...)
	if err == nil {
		given.KeyLabel, given.RefusedFor = p.KeyLabel, p.RefusedFor
	}
	return given, err
}

func (j *Journal) setAside(ctx context.Context, data []byte, abandoned ...string) (*Pending, error) {
	if err := j.Files.SetAside(ctx, data); err != nil {
		return nil, err
	}
	return &Pending{Abandoned: abandoned}, nil
}

// concerns reports whether a journal is of a run like this one. Credentials that AWS
// has accepted are an identity whatever run asked for them: Ensure takes those of a
// renewal, and Renew those of an Ensure, unless they are the stored ones.
func (j *Journal) concerns(r *record, stored string) bool {
	switch {
	case !strings.EqualFold(r.credentials.Endpoint, j.Endpoint):
		return false
	case r.Renewal == j.Renewal:
		return r.Template == j.Template
	case r.Phase != phaseAccepted:
		return false
	case j.Renewal:
		return r.Template == j.Template && r.credentials.CertificateID != stored
	default:
		return true
	}
}

// Mentions reports whether the journal is about a certificate, or cannot be read so
// that it may be. Then what was to follow its registration, such as its verification,
// may not have been done.
func (j *Journal) Mentions(ctx context.Context, certificateID string) (bool, error) {
	data, err := j.Files.Read(ctx, Name)
	if err != nil || data == nil {
		return false, err
	}
	r, err := parse(data)
	return err != nil || r.Phase != phaseProbe && r.credentials.CertificateID == certificateID, nil
}

// Probe proves that the store takes a journal, before AWS makes anything, and writes
// down which certificates were abandoned, and under which label the run is about to make
// its key. A journal that the run goes on from proves it by being written again.
// Replaced is the size of the credentials that are to be kept as previous.pem, if any.
func (j *Journal) Probe(ctx context.Context, abandoned []string, keyLabel string, replaced int) error {
	if j.found != nil {
		return j.Files.write(ctx, Name, j.found)
	}
	probe := &record{Version: version, Phase: phaseProbe, Template: j.Template, RefusedSeconds: j.refusedFor, Abandoned: abandoned, KeyLabel: keyLabel, replaced: replaced}
	data, err := probe.marshal()
	if err != nil {
		return err
	}
	j.current = probe
	return j.Files.write(ctx, Name, data)
}

// KeepRefusedFor writes down how long AWS IoT has refused the device, for a run that
// begins after this one is cut off. A failure to write changes nothing: the old journal
// stays.
func (j *Journal) KeepRefusedFor(ctx context.Context, refused time.Duration) {
	if j.refusedFor = int64(refused / time.Second); j.current == nil {
		return
	}
	j.current.RefusedSeconds = j.refusedFor
	if data, err := j.current.marshal(); err == nil {
		_ = j.Files.write(ctx, Name, data)
	}
}

// Created writes down a certificate that is about to be registered, once.
func (j *Journal) Created(ctx context.Context, c *credfile.File, token string, issued time.Time) error {
	if j.holds(c.CertificateID) && !j.created.Refused {
		return nil
	}
	r := &record{Phase: phaseCreated, Token: token, Issued: issued.UTC(), credentials: c}
	// The probe is obsolete now, and so is the journal of a certificate whose token was
	// refused, if there is none that nothing else would name. Its space may be needed.
	err := j.write(ctx, r, len(c.AbandonedCertificateIDs) == 0)
	if err == nil {
		j.created = r
	}
	return err
}

// Refused writes down that AWS refused to register the certificate with that id, in
// words. A later run need not fear then that it is active.
func (j *Journal) Refused(ctx context.Context, certificateID string) error {
	if !j.holds(certificateID) || j.created.Refused {
		return nil
	}
	refused := *j.created
	refused.Refused = true
	err := j.write(ctx, &refused, false)
	if err == nil {
		j.created = &refused
	}
	return err
}

// holds reports whether the store holds that certificate in phase created.
func (j *Journal) holds(certificateID string) bool {
	return j.created != nil && j.created.credentials.CertificateID == certificateID
}

// Accepted writes down that AWS has accepted the registration.
func (j *Journal) Accepted(ctx context.Context, c *credfile.File) error {
	return j.write(ctx, &record{Phase: phaseAccepted, credentials: c}, false)
}

// write writes a record. If there is no room for it beside the old one, that one may be
// obsolete, and is deleted.
func (j *Journal) write(ctx context.Context, r *record, obsolete bool) error {
	r.Version, r.Renewal, r.Template, r.RefusedSeconds = version, j.Renewal, j.Template, j.refusedFor
	j.current = r
	data, err := r.marshal()
	if err != nil {
		return j.Files.Step(ctx, "writing "+Name, func(context.Context) error { return err })
	}
	store := j.Files.Store
	return j.Files.persist(ctx, "writing "+Name, func(ctx context.Context) error {
		err := store.Put(ctx, Name, data)
		if err == nil || !obsolete || store.Delete(ctx, Name) != nil {
			return err
		}
		return store.Put(ctx, Name, data)
	})
}

// Drop deletes the journal, when all that it was for is done.
func (j *Journal) Drop(ctx context.Context) error {
	err := j.Files.Remove(ctx, Name)
	if err == nil {
		j.found, j.created, j.current = nil, nil, nil
	}
	return err
}
