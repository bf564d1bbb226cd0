package fleetprovtest

import "time"

// Advance moves the server's clock forward by d. By this clock an ownership token
// expires after an hour, and with it a certificate that was not registered; the
// validity of a client's certificate is judged; and quotas refill. Timeouts and
// delays do not depend on it, nor does the time from which an issued certificate is
// valid. It panics if d is negative.
func (s *Server) Advance(d time.Duration) {
	if d < 0 {
		panic("fleetprovtest: the clock cannot be moved back")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(stateRecord{Ahead: time.Duration(s.ahead.Add(int64(d)))})
}

func (s *Server) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
