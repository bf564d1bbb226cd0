package journal

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/fleetprov/fleetprov/internal/credfile"
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
	Refused  bool      `json:"refused,omitempty"`

	// RefusedSeconds is how long AWS IoT has refused the device by now.
	RefusedSeconds int64 `json:"refusedSeconds,omitempty"`

	// These two are for phaseProbe, which has no credentials to hold them.
	Abandoned []string `json:"abandonedCertificateIds,omitempty"`
	KeyLabel  string   `json:"keyLabel,omitempty"`

	credentials *credfile.File // nil in phaseProbe
	replaced    int            // in phaseProbe, how many bytes the probe takes beside probeSize
}

const (
	blockJournal = "FLEETPROV JOURNAL"
	blockFiller  = "FLEETPROV FILLER"
	version      = 1

	// probeSize is how many bytes a probe takes in the store, at least. A journal and
	// the credentials are there together, and each takes 8 kB: 4 kB with what AWS gives
	// (an ownership token of 464 characters, a certificate of 1,224 and an RSA-2048 key
	// of 1,704), and as much again for a chain, roots and device configuration.
	probeSize = 2 * 8 << 10
)

func (r *record) refusedFor() time.Duration { return time.Duration(r.RefusedSeconds) * time.Second }

func (r *record) marshal() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: text})
	if r.Phase == phaseProbe {
		return append(data, filler(probeSize+r.replaced-len(data))...), nil
	}
	credentials, err := r.credentials.Marshal()
	if err != nil {
		return nil, err
	}
	return append(data, credentials...), nil
}

// filler is a PEM block of about size bytes.
func filler(size int) []byte {
	const lines = 64 + 1 // of base64, for 48 bytes each
	return pem.EncodeToMemory(&pem.Block{Type: blockFiller, Bytes: make([]byte, max(size, 0)/lines*48)})
}

func parse(data []byte) (*record, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != blockJournal {
		return nil, fmt.Errorf("there is no %s block", blockJournal)
	}
	r := new(record)
	if err := credfile.DecodeJSON(block.Bytes, r); err != nil {
		return nil, fmt.Errorf("the journal is damaged: %w", err)
	}
	if r.Version != version {
		return nil, fmt.Errorf("the journal has version %d and this program knows %d", r.Version, version)
	}
	switch r.Phase {
	case phaseProbe:
		return r, nil
	case phaseCreated, phaseAccepted:
	default:
		return nil, fmt.Errorf("the journal has an unknown phase %.20q", r.Phase)
	}
	var err error
	if r.credentials, err = credfile.Parse(rest); err != nil {
		return nil, err
	}
	return r, nil
}
