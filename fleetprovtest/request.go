package fleetprovtest

import (
	"bytes"
	"slices"
	"time"
)

// Request is a request that the server has received, whether it was granted or not.
type Request struct {
	Op       Op
	ClientID string
	Topic    string   // of a provisioning operation
	Filters  []string // of Subscribe
	Payload  []byte   // of a provisioning operation, as sent
	Time     time.Time
}

// Requests returns the requests that the server has received, in order: each
// well-formed CONNECT, each SUBSCRIBE, and each provisioning operation. They are the
// last MaxRequests of them, if that is set.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := slices.Clone(s.requests)
	for i, r := range requests {
		requests[i].Filters = slices.Clone(r.Filters)
		requests[i].Payload = bytes.Clone(r.Payload)
	}
	return requests
}

func (s *Server) recordRequest(r Request) {
	r.Time = s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	if s.MaxRequests > 0 && len(s.requests) > s.MaxRequests {
		s.requests = s.requests[len(s.requests)-s.MaxRequests:]
	}
}
