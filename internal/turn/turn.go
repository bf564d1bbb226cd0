// Package turn keeps the connections under one MQTT client id apart. AWS IoT ends a
// connection when another one comes under the same client id, and counts how often
// they come.
package turn

import (
	"context"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
)

// Pause is how far apart connections under one client id are. AWS documents one a
// second; about one in ten seconds is what clients observe.
const Pause = 10 * time.Second

// Turn lets one run at a time connect under a client id. A nil Turn is for
// connections that have an id each, and keeps nobody waiting.
type Turn struct {
	clientID string
	last     chan time.Time // when the last one connected; empty while the turn is taken
}

// New returns the turn of a client id.
func New(clientID string) *Turn {
	t := &Turn{clientID, make(chan time.Time, 1)}
	t.last <- time.Time{}
	return t
}

// Take waits until nobody else has the turn, or until ctx ends, whose error it
// returns. The turn is given back with [Taken.Give].
func (t *Turn) Take(ctx context.Context) (*Taken, error) {
	taken := &Taken{turn: t}
	if t == nil {
		return taken, nil
	}
	select {
	case taken.connected = <-t.last:
		return taken, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Taken is a turn that one run has. It is that run's own.
type Taken struct {
	turn      *Turn
	connected time.Time // when the last connection under the client id was opened
}

// Wait waits until a connection under clientID may be opened, which is to be opened
// at once then. It ends with ctx, whose error it returns.
func (t *Taken) Wait(ctx context.Context, clientID string) error {
	if t.turn == nil || clientID != t.turn.clientID {
		return nil
	}
	if !t.connected.IsZero() && !backoff.Sleep(ctx, time.Until(t.connected.Add(Pause))) {
		return ctx.Err()
	}
	t.Connected()
	return nil
}

// Connected notes that a connection has been opened now, by another way than Wait.
func (t *Taken) Connected() { t.connected = time.Now() }

// Give lets the next run have the turn.
func (t *Taken) Give() {
	if t.turn != nil {
		t.turn.last <- t.connected
	}
}
