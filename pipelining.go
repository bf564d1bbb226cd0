package fleetprov

import (
	"context"

	"github.com/fleetprov/fleetprov/internal/mqttsession"
)

// askAhead sends the request for a certificate between SUBSCRIBE and its SUBACK.
// It does so once in a run, since AWS does not promise that the answer is
// received then, and each lost answer is a certificate that nobody has.
// RegisterThing is never sent ahead, since it makes a certificate active.
func (r *run) askAhead(ctx context.Context, session *mqttsession.Session) error {
	var payload []byte
	switch {
	case !r.pipelining || r.ahead != 0 || r.issued != nil:
		return nil
	case r.key != nil && !r.key.ready():
		return nil // the SUBACK is on its way while the key is being made
	case r.key != nil:
		payload = r.key.request
	}
	r.ahead = r.attempt
	return session.Publish(ctx, r.createTopic(), payload)
}

// askedAhead reports whether this attempt has sent the request for a certificate.
func (r *run) askedAhead() bool { return r.ahead != 0 && r.ahead == r.attempt }
