package broker

// Over reports whether the connection is over, whoever ended it.
func (c *Conn) Over() bool { return c.over() }
