package journal

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// someCredentials are sound, and have the id.
func someCredentials(t testing.TB, id string) *credfile.File {
	t.Helper()
	certificate := testca.New("a root").Client("device", testca.Validity{})
	return &credfile.File{CertificateID: id, Chain: certificate.Certificate, Key: certificate.PrivateKey.(crypto.Signer), Endpoint: "iot.example.com:8883"}
}

// disk is a store in memory. Its calls are of one run, one after another.
type disk struct {
	files map[string][]byte
	calls []string
	// before, if set, is called before each operation, whose error it returns.
	before func(ctx context.Context, op, name string) error
}

func newDisk() *disk { return &disk{files: map[string][]byte{}} }

func (d *disk) call(ctx context.Context, op, name string) error {
	d.calls = append(d.calls, op+" "+name)
	if d.before != nil {
		return d.before(ctx, op, name)
	}
	return ctx.Err()
}

func (d *disk) Get(ctx context.Context, name string) ([]byte, error) {
	if err := d.call(ctx, "get", name); err != nil {
		return nil, err
	}
	if data, ok := d.files[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (d *disk) Put(ctx context.Context, name string, data []byte) error {
	if err := d.call(ctx, "put", name); err != nil {
		return err
	}
	d.files[name] = bytes.Clone(data)
	return nil
}

func (d *disk) Delete(ctx context.Context, name string) error {
	if err := d.call(ctx, "delete", name); err != nil {
		return err
	}
	delete(d.files, name)
	return nil
}

// stepTimeout is the time of each step.
const stepTimeout = 30 * time.Second

// step names what was being done, and bounds it.
func step(ctx context.Context, doing string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func on(d *disk) Files { return Files{Store: d, Step: step} }

func journalOn(d *disk, renewal bool) *Journal {
	return &Journal{Files: on(d), Endpoint: "iot.example.com:8883", Template: "fleet-template", Renewal: renewal}
}

// aside returns what was set aside.
func (d *disk) aside() (all [][]byte) {
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if name != Name && name != "credentials.pem" {
			all = append(all, d.files[name])
		}
	}
	return all
}

func TestARunGoesOnFromItsJournal(t *testing.T) {
	d, issued := newDisk(), time.Now().Round(0)
	file := someCredentials(t, "a")
	first := journalOn(d, false)
	require.NoError(t, first.Probe(t.Context(), nil, "", 0))
	pending, err := journalOn(d, false).Read(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, new(Pending), pending, "a probe is nothing to go on from")

	require.NoError(t, first.Created(t.Context(), file, "a token", issued))
	pending, err = journalOn(d, false).Read(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, &Pending{Credentials: file, Token: "a token", Issued: issued.UTC()}, pending)

	file.ThingName = "thing-1"
	require.NoError(t, first.Accepted(t.Context(), file))
	pending, err = journalOn(d, false).Read(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, &Pending{Accepted: true, Credentials: file}, pending)
	assertMentions(t, d, "a", true)
	assertMentions(t, d, "b", false)

	require.NoError(t, first.Drop(t.Context()))
	assert.Empty(t, d.files)
	assertMentions(t, d, "a", false)
	pending, err = journalOn(d, false).Read(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, new(Pending), pending)
}

func assertMentions(t *testing.T, d *disk, certificateID string, want bool) {
	t.Helper()
	mentions, err := journalOn(d, false).Mentions(t.Context(), certificateID)
	require.NoError(t, err)
	assert.Equal(t, want, mentions)
}

// Whoever must not trust a certificate that was never verified asks for it: a journal
// that cannot be read may be about it.
func TestWhatAJournalMentions(t *testing.T) {
	d := newDisk()
	require.NoError(t, journalOn(d, false).Probe(t.Context(), []string{"a"}, "", 0))
	assertMentions(t, d, "a", false)
	require.NoError(t, journalOn(d, false).Created(t.Context(), someCredentials(t, "a"), "a token", time.Now()))
	assertMentions(t, d, "a", true)
	d.files[Name] = []byte("damaged")
	assertMentions(t, d, "a", true)
	broken := errors.New("the disk is broken")
	d.before = func(context.Context, string, string) error { return broken }
	_, err := journalOn(d, false).Mentions(t.Context(), "a")
	assert.ErrorIs(t, err, broken)
}

// A certificate that may be active is not forgotten when its journal is of no use.
func TestWhatIsGivenUpIsNamed(t *testing.T) {
	of := func(r record) []byte {
		r.Version, r.credentials = version, someCredentials(t, "a")
		r.credentials.AbandonedCertificateIDs = []string{"earlier"}
		return encoded(t, &r)
	}
	damaged := of(record{Phase: phaseCreated, Template: "fleet-template"})
	whole, err := parse(damaged)
	require.NoError(t, err)
	digest := sha256.Sum256(whole.credentials.Chain[0])
	for name, test := range map[string]struct {
		data []byte
		want []string
	}{
		"of another template": {of(record{Phase: phaseCreated, Template: "another"}), []string{"earlier", "a"}},
		"damaged":             {append([]byte("x"), damaged...), []string{hex.EncodeToString(digest[:])}},
		"damaged all over":    {[]byte("damaged"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			d.files[Name] = test.data
			pending, err := journalOn(d, false).Read(t.Context(), "")
			require.NoError(t, err)
			assert.Nil(t, pending.Credentials)
			assert.Equal(t, test.want, pending.Abandoned)

			require.NoError(t, journalOn(d, false).Probe(t.Context(), pending.Abandoned, "", 0))
			pending, err = journalOn(d, false).Read(t.Context(), "")
			require.NoError(t, err)
			assert.Equal(t, test.want, pending.Abandoned, "a power cut before the next certificate does not lose it")
		})
	}

	d := newDisk()
	d.files[Name] = damaged
	j := journalOn(d, false)
	pending, err := j.Read(t.Context(), "")
	require.NoError(t, err)
	pending, err = j.GiveUp(t.Context(), pending)
	require.NoError(t, err)
	assert.Nil(t, pending.Credentials)
	assert.Equal(t, []string{"earlier", "a"}, pending.Abandoned, "its key is gone")
	assert.Equal(t, [][]byte{damaged}, d.aside())
}

// The probe takes as much room as what is to come with AWS's sizes.
func TestProbeIsAsLargeAsAJournal(t *testing.T) {
	d := newDisk()
	require.NoError(t, journalOn(d, false).Probe(t.Context(), nil, "", 0))
	assert.InDelta(t, probeSize, len(d.files[Name]), 200)
	require.NoError(t, journalOn(d, true).Probe(t.Context(), nil, "", 5000))
	assert.InDelta(t, probeSize+5000, len(d.files[Name]), 200, "the old credentials are kept beside the new")
}

// Which journals concern which run. "a" is the certificate of the journal.
func TestWhatAJournalConcerns(t *testing.T) {
	const used, ignored, keptAside = "used", "ignored", "kept aside"
	for name, test := range map[string]struct {
		journal  record
		endpoint string
		renewal  bool
		stored   string
		want     string
	}{
		"created, for Ensure":                          {record{Phase: phaseCreated}, "", false, "", used},
		"accepted, for Ensure":                         {record{Phase: phaseAccepted}, "", false, "", used},
		"created, for Renew":                           {record{Phase: phaseCreated, Renewal: true}, "", true, "old", used},
		"accepted, for Renew":                          {record{Phase: phaseAccepted, Renewal: true}, "", true, "old", used},
		"accepted and stored, for Renew":               {record{Phase: phaseAccepted, Renewal: true}, "", true, "a", used},
		"the endpoint in other letters":                {record{Phase: phaseCreated}, "IOT.Example.com:8883", false, "", used},
		"a renewal that was created, for Ensure":       {record{Phase: phaseCreated, Renewal: true}, "", false, "", keptAside},
		"a renewal that was accepted, for Ensure":      {record{Phase: phaseAccepted, Renewal: true}, "", false, "", used},
		"one of another template, for Ensure":          {record{Phase: phaseAccepted, Renewal: true, Template: "rotation"}, "", false, "", used},
		"created by Ensure, for Renew":                 {record{Phase: phaseCreated}, "", true, "old", keptAside},
		"accepted for Ensure, for Renew":               {record{Phase: phaseAccepted}, "", true, "old", used},
		"accepted for Ensure and stored, for Renew":    {record{Phase: phaseAccepted}, "", true, "a", ignored},
		"one of another template, for Renew":           {record{Phase: phaseAccepted, Template: "another"}, "", true, "old", keptAside},
		"created, of another template":                 {record{Phase: phaseCreated, Template: "another"}, "", false, "", keptAside},
		"accepted, of another template":                {record{Phase: phaseAccepted, Template: "another"}, "", false, "", keptAside},
		"created, of another endpoint":                 {record{Phase: phaseCreated}, "iot.example.org:8883", false, "", keptAside},
		"accepted, of another endpoint":                {record{Phase: phaseAccepted}, "iot.example.org:8883", false, "", keptAside},
		"accepted, of another port":                    {record{Phase: phaseAccepted}, "iot.example.com:443", false, "", keptAside},
		"stored, of another endpoint":                  {record{Phase: phaseAccepted}, "iot.example.org:8883", false, "a", ignored},
		"a probe, of another template and for a Renew": {record{Phase: phaseProbe, Template: "another"}, "", true, "old", ignored},
	} {
		t.Run(name, func(t *testing.T) {
			r := test.journal
			r.Version = version
			if r.Template == "" {
				r.Template = "fleet-template"
			}
			if r.Phase != phaseProbe {
				r.credentials = someCredentials(t, "a")
			}
			if test.endpoint != "" {
				r.credentials.Endpoint = test.endpoint
			}
			d, data := newDisk(), encoded(t, &r)
			d.files[Name] = data
			pending, err := journalOn(d, test.renewal).Read(t.Context(), test.stored)
			require.NoError(t, err)
			if test.want == used {
				require.NotNil(t, pending.Credentials)
				assert.Equal(t, "a", pending.Credentials.CertificateID)
				assert.Equal(t, r.Phase == phaseAccepted, pending.Accepted)
			} else {
				assert.Nil(t, pending.Credentials)
			}
			if test.want == keptAside {
				assert.Equal(t, [][]byte{data}, d.aside())
			} else {
				assert.Empty(t, d.aside())
			}
			assert.Equal(t, data, d.files[Name], "a read changes nothing")
		})
	}
}

func TestWhatCannotBeUsedIsSetAside(t *testing.T) {
	d := newDisk()
	for _, words := range []string{"one", "another", "one"} {
		d.files[Name] = []byte(words)
		pending, err := journalOn(d, false).Read(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, new(Pending), pending)
	}
	assert.ElementsMatch(t, [][]byte{[]byte("one"), []byte("another")}, d.aside(), "each once, for flash memory wears out")

	full := errors.New("no space left")
	d.before = func(_ context.Context, op, _ string) error {
		if op == "put" {
			return full
		}
		return nil
	}
	d.files[Name] = []byte("a third")
	pending, err := journalOn(d, false).Read(t.Context(), "")
	assert.Nil(t, pending)
	assert.ErrorIs(t, err, full)
	assert.Equal(t, "a third", string(d.files[Name]))
}

func TestProbeWritesWhatTheRunGoesOnFrom(t *testing.T) {
	d := newDisk()
	file := someCredentials(t, "a")
	require.NoError(t, journalOn(d, false).Created(t.Context(), file, "a token", time.Now()))
	data := d.files[Name]
	j := journalOn(d, false)
	_, err := j.Read(t.Context(), "")
	require.NoError(t, err)
	d.calls = nil
	require.NoError(t, j.Probe(t.Context(), nil, "", 0))
	assert.Equal(t, data, d.files[Name], "it is not lost to a probe")
	require.NoError(t, j.Created(t.Context(), file, "a token", time.Now()))
	assert.Equal(t, []string{"put " + Name}, d.calls, "and not written a second time")
	require.NoError(t, j.Created(t.Context(), someCredentials(t, "b"), "another token", time.Now()))
	assert.Equal(t, []string{"put " + Name, "put " + Name}, d.calls, "another certificate is")
}

// A disk without room for both takes the journal in the place of the probe.
func TestTheProbesRoomIsTheJournals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("no space left")
		d := newDisk()
		d.before = func(_ context.Context, op, _ string) error {
			if op == "put" && len(d.files) > 0 {
				return full
			}
			return nil
		}
		j, began := journalOn(d, false), time.Now()
		require.NoError(t, j.Probe(t.Context(), nil, "", 0))
		require.NoError(t, j.Created(t.Context(), someCredentials(t, "a"), "a token", time.Now()))
		assert.Equal(t, []string{"put " + Name, "put " + Name, "delete " + Name, "put " + Name}, d.calls)
		assert.Zero(t, time.Since(began), "at once: there may be no time for another try")

		// What is in the place of an accepted registration is the journal of its
		// creation, which is all there is of it.
		d.calls = nil
		assert.ErrorIs(t, j.Accepted(t.Context(), someCredentials(t, "a")), full)
		assert.NotContains(t, d.calls, "delete "+Name)
		assert.Contains(t, d.files, Name)
	})
}
