package fleetprovtest

import (
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iotservice"
)

// mqttFront is the server as its MQTT clients see it: a [broker.Handler], whose methods
// are in the files named for them. It is made by [Server.Start] and does not change; each
// part it works with guards itself.
type mqttFront struct {
	registry *iotregistry.Registry
	service  *iotservice.Service
	gate     gate
	sessions *sessions
	throttle *throttle
	faults   *faultQueues
	requests *requestLog
	log      eventLog
	settings mqttSettings

	waiting sync.WaitGroup // operations that may be waiting for a function of the caller's
}

// mqttSettings are the fields of Server of the same names.
type mqttSettings struct {
	refusal             Refusal
	refuseWithSUBACK    bool
	requireSubscription bool
	subscriptionLag     time.Duration
	hasSignCSR          bool
}

// fault returns what is to go wrong with a request. A request over a quota is refused,
// and leaves the queue of faults alone.
func (m *mqttFront) fault(op Op, clientID string) Fault {
	if quota := m.throttle.count(op, clientID); quota != nil {
		return quota.refusal(op)
	}
	return m.faults.take(op)
}

// closed forgets a connection that is over.
func (m *mqttFront) closed(c *broker.Conn, why error) {
	m.sessions.remove(c)
	m.log.closed(c, why)
}

// wait waits for the operations that outlive their connection. It is called when the
// broker is closed.
func (m *mqttFront) wait() { m.waiting.Wait() }
