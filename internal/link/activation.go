package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/turn"
)

// OpenActivated is [Link.Open] for a certificate that AWS says it has just activated.
// That may lag behind, so a refusal is believed only when ctx ends, and the
// certificate is tried again until then: after a second and then twice as long each
// time, or as far apart as connections under one client id must be if the server may
// have seen it.
func (l *Link) OpenActivated(ctx context.Context, certificate *tls.Certificate, clientID string, taken *turn.Taken) (*mqttsession.Session, error) {
	for wait := time.Second; ; wait *= 2 {
		session, err := l.Open(ctx, certificate, clientID)
		if err == nil || ctx.Err() != nil {
			return session, err
		}
		pause := wait
		if dial := new(DialError); !errors.As(err, &dial) {
			pause = max(wait, turn.Pause)
		}
		if backoff.SleepWithin(ctx, pause) {
			taken.Connected()
			continue
		}
		<-ctx.Done()
		if errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded) { // the end of the step, which the refusal explains
			return nil, err
		}
		return nil, fmt.Errorf("%w; the last refusal: %w", ctx.Err(), err)
	}
}
