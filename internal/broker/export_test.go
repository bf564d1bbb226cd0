package broker

// Lingering is how long a connection that the server has ended is kept.
const Lingering = lingering

// Over reports whether the connection is over, whoever ended it.
func (c *Conn) Over() bool { return c.over() }

// Held returns how many connections and client ids the server remembers.
func (s *Server) Held() (conns, clients int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), len(s.clients)
}
