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

// session is a connection whose CONNECT the server has seen. Only deliversFrom changes.
type session struct {
	conn          *broker.Conn
	certificateID string
	access        iotregistry.Access
	values        map[string][]string // condition keys that can have several values

	// deliversFrom is when messages begin to be delivered, in nanoseconds of
	// Unix time.
	deliversFrom atomic.Int64
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
	mu     sync.Mutex // guards byConn
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

// drop ends the connections with a certificate after a time, if they are still to end then.
func (s *sessions) drop(certificateID, why string, after time.Duration, still func() bool) {
	for _, o := range s.all() {
		if o.certificateID != certificateID {
			continue
		}
		o.conn.After(after, func() {
			if still() {
				o.conn.Fail(reason(broker.AdministrativeAction, "%s", why))
			}
		})
	}
}
