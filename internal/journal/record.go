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

	credentials *credfile.File // nil in phaseProbe
}

const (
	blockJournal = "FLEETPROV JOURNAL"
	blockFiller  = "FLEETPROV FILLER"
	version      = 1

	// probeSize is about the size of the largest journal: an RSA key, a certificate
	// and a few roots.
	probeSize = 16 << 10
)

func (r *record) marshal() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: text})
	if r.Phase == phaseProbe {
		return append(data, pem.EncodeToMemory(&pem.Block{Type: blockFiller, Bytes: make([]byte, probeSize)})...), nil
	}
	credentials, err := r.credentials.Marshal()
	if err != nil {
		return nil, err
	}
	return append(data, credentials...), nil
}

func parse(data []byte) (*record, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != blockJournal {
		return nil, fmt.Errorf("there is no %s block", blockJournal)
	}
	r := new(record)
	if err := json.Unmarshal(block.Bytes, r); err != nil {
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
