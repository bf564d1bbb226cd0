package fleetprovtest

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// session is a connection whose CONNECT the server has seen.
type session struct {
	*broker.Conn
	certificateID string
	policies      []*iotpolicy.Document
	variables     map[string]string   // policy variables
	values        map[string][]string // condition keys with several values

	// deliversFrom is when messages begin to be delivered, in nanoseconds of
	// Unix time.
	deliversFrom atomic.Int64
}

// open returns the session of a connection, or nil if its certificate is not
// active any more.
func (s *Server) open(c *broker.Conn, p *packets.ConnectPacket) *session {
	certificates := c.TLS().PeerCertificates
	if len(certificates) == 0 {
		return nil
	}
	o := &session{
		Conn:          c,
		certificateID: certificateID(certificates[0]),
		values:        map[string][]string{"iot:ConnectAttributes": connectAttributes(p)},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.statusLocked(o.certificateID) != StatusActive {
		return nil
	}
	o.policies = s.policiesLocked(o.certificateID)
	o.variables = s.variablesLocked(c.ClientID(), o.certificateID)
	s.sessions[c] = o
	return o
}

// variablesLocked returns the policy variables of a connection. Its thing is the one
// whose name is the client id, if the certificate is attached to that
// ("thing-policy-variables").
func (s *Server) variablesLocked(clientID, certificateID string) map[string]string {
	variables := map[string]string{"iot:ClientId": clientID, "iot:Connection.Thing.IsAttached": "false"}
	thing := s.registry.byName[clientID]
	if thing == nil || !slices.Contains(thing.CertificateIDs, certificateID) {
		return variables
	}
	variables["iot:Connection.Thing.IsAttached"] = "true"
	variables["iot:Connection.Thing.ThingName"] = thing.Name
	if thing.Type != "" {
		variables["iot:Connection.Thing.ThingTypeName"] = thing.Type
	}
	for name, value := range thing.Attributes {
		variables["iot:Connection.Thing.Attributes["+name+"]"] = value
	}
	return variables
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

// allowed asks the policies of the certificate.
func (o *session) allowed(action iotpolicy.Action, resource string) bool {
	return iotpolicy.Allowed(o.policies, iotpolicy.Request{
		Action: action, Resource: resource, Variables: o.variables, Values: o.values,
	})
}

// session returns that of a connection that the broker has accepted.
func (s *Server) session(c *broker.Conn) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[c]
}

// dropLocked ends the connections with a certificate.
func (s *Server) dropLocked(certificateID, why string) {
	for c, o := range s.sessions {
		if o.certificateID == certificateID {
			c.Fail(reason(broker.AdministrativeAction, "%s", why))
		}
	}
}

// reason is why a connection ends. A client of MQTT 5 learns the code.
func reason(code byte, format string, arguments ...any) error {
	return &broker.Reason{Code: code, Text: fmt.Sprintf(format, arguments...)}
}

// closed forgets a connection that is over.
func (s *Server) closed(c *broker.Conn, why error) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
	s.logClosed(c, why)
}
