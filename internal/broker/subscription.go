package broker

// subscription is a subscription to a filter. With MQTT 3.1.1 only qos is set.
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

// matchLocked combines the subscriptions that match a topic, if there are any. own
// means that the client itself has published the message.
func (c *Conn) matchLocked(topic string, own bool) (all subscription, found bool) {
	for filter, s := range c.subscriptions {
		if match(filter, topic) && !(own && s.noLocal) {
			all.qos = max(all.qos, s.qos)
			all.retainAsPublished = all.retainAsPublished || s.retainAsPublished
			found = true
		}
	}
	return all, found
}
