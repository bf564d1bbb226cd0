package fleetprovtest

import (
	"bytes"
	"slices"
	"sync"
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

	// What a Connect asks for.
	KeepAlive       time.Duration // 0: none; AWS IoT makes it 30 seconds to 20 minutes
	CleanSession    bool          // with MQTT 5: clean start
	ProtocolVersion int           // 4 is MQTT 3.1.1, 5 is MQTT 5
}

// requestLog holds the requests that were received, for [Server.Requests].
type requestLog struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	requests []Request
	most     int // requests that are kept; 0: all of them
}

// limit sets how many requests are kept.
func (l *requestLog) limit(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Time = l.now()
	l.requests = append(l.requests, r)
	if l.most > 0 && len(l.requests) > l.most {
		l.requests = l.requests[len(l.requests)-l.most:]
	}
}

// all returns copies.
func (l *requestLog) all() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := slices.Clone(l.requests)
	for i, r := range requests {
		requests[i].Filters = slices.Clone(r.Filters)
		requests[i].Payload = bytes.Clone(r.Payload)
	}
	return requests
}
