package fleetprovtest

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// session is a connection whose CONNECT the server has seen. Only deliversFrom and ending
// change.
type session struct {
	conn          *broker.Conn
	certificateID string
	access        iotregistry.Access
	values        map[string][]string // condition keys that can have several values

	// deliversFrom is when messages begin to be delivered, in nanoseconds of
	// Unix time.
	deliversFrom atomic.Int64

	ending ending // guarded by the mutex of sessions
}

// ending is when a session ends, by the server's clock, and why. Zero: it goes on.
type ending struct {
	at  time.Time
	why string
}

// allowed asks the policies of the certificate.
func (o *session) allowed(action iotpolicy.Action, resource string) bool {
	return iotpolicy.Allowed(o.access.Policies, iotpolicy.Request{
		Action:    action,
		Resource:  resource,
		Variables: o.access.Variables,
		Values:    o.values,
	})
}

// connectAttributes returns the features of a connection that need a permission and
// that the client asks for ("connect-policy").
func connectAttributes(p *packets.ConnectPacket) []string {
	var attributes []string
	if !p.CleanSession {
		attributes = append(attributes, "PersistentConnect")
	}
	if p.WillFlag {
		attributes = append(attributes, "LastWill")
	}
	return attributes
}

// sessions holds the sessions whose connection is not over.
type sessions struct {
	now    func() time.Time
	status func(certificateID string) string // "": there is no such certificate

	mu     sync.Mutex // guards byConn, and the ending of each session
	byConn map[*broker.Conn]*session
}

func (s *sessions) add(o *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byConn == nil {
		s.byConn = make(map[*broker.Conn]*session)
	}
	s.byConn[o.conn] = o
}

func (s *sessions) remove(c *broker.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byConn, c)
}

// of returns the session of a connection that the broker has accepted.
func (s *sessions) of(c *broker.Conn) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byConn[c]
}

// all returns the sessions in no particular order.
func (s *sessions) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byConn))
}

// review looks at a certificate that may have changed. Unless it is active, its sessions
// end after a lag, which begins when they are first seen without an active one.
func (s *sessions) review(certificateID string, lag time.Duration) {
	for _, o := range s.endLater(certificateID, lag) {
		o.conn.After(lag, s.endDue)
	}
}

// endLater returns the sessions that were not about to end before.
func (s *sessions) endLater(certificateID string, lag time.Duration) (all []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status(certificateID)
	why := "its certificate was deleted"
	if status != "" {
		why = "its certificate has become " + status
	}
	for _, o := range s.byConn {
		switch {
		case o.certificateID != certificateID:
		case status == iotregistry.Active:
			o.ending = ending{}
		case o.ending.why == "":
			o.ending = ending{s.now().Add(lag), why}
			all = append(all, o)
		}
	}
	return all
}

// endDue ends the sessions whose time has come.
func (s *sessions) endDue() {
	for c, why := range s.due() {
		c.Fail(reason(broker.AdministrativeAction, "%s", why))
	}
}

func (s *sessions) due() map[*broker.Conn]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, due := s.now(), make(map[*broker.Conn]string)
	for c, o := range s.byConn {
		if o.ending.why != "" && !now.Before(o.ending.at) {
			due[c] = o.ending.why
		}
	}
	return due
}
