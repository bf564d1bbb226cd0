package fleetprovtest

import "time"

// Inject queues a fault: each request of op, from whichever connection, takes the
// one that has waited the longest. A provisioning operation has taken it by the
// time its PUBACK is sent. Inject may be called at any time.
func (s *Server) Inject(op Op, f Fault) { s.faults.add(op, f) }

// Advance moves the server's clock forward by d. By this clock an ownership token
// expires after an hour, and with it a certificate that was not registered; the
// validity of a client's certificate is judged; quotas refill; and ActivationLag,
// DeactivationLag and the moment that [Server.ControlPlane] takes to detach end. Other
// timeouts and delays do not depend on it, such as SubscriptionLag and that of a [Fault],
// nor does the time from which an issued certificate is valid. It panics if d is negative.
func (s *Server) Advance(d time.Duration) {
	if d < 0 {
		panic("fleetprovtest: the clock cannot be moved back")
	}
	s.clock.advance(d)
	s.sessions.endDue()
}

// Requests returns the requests that the server has received, in order: each
// well-formed CONNECT, each SUBSCRIBE, and each provisioning operation. If MaxRequests
// is set, only the latest ones are returned.
func (s *Server) Requests() []Request { return s.requests.all() }
