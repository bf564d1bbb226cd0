package fleetprovtest

import "time"

// Advance moves the server's clock forward by d: certificates that nobody has
// registered disappear with their tokens after an hour of it, certificates expire
// and quotas refill by it. Timeouts and delays do not depend on it, nor does the
// time from which an issued certificate is valid. It panics if d is negative.
func (s *Server) Advance(d time.Duration) {
	if d < 0 {
		panic("fleetprovtest: the clock cannot be moved back")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(stateRecord{Ahead: time.Duration(s.ahead.Add(int64(d)))})
}

func (s *Server) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
