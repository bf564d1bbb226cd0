package broker

// subscription is to a filter. It is zero but for the QoS with MQTT 3.1.1.
type subscription struct {
	qos               byte
	noLocal           bool // not to what the client itself publishes
	retainAsPublished bool
}

// Subscribed reports whether the client has subscribed to a topic.
func (c *Conn) Subscribed(topic string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, found := c.matchLocked(topic, false)
	return found
}

// matchLocked returns what the subscriptions to a topic come to, if there are any.
// own says that the client itself has published there.
func (c *Conn) matchLocked(topic string, own bool) (all subscription, found bool) {
	for filter, s := range c.subscriptions {
		if Match(filter, topic) && !(own && s.noLocal) {
			all.qos = max(all.qos, s.qos)
			all.retainAsPublished = all.retainAsPublished || s.retainAsPublished
			found = true
		}
	}
	return all, found
}
