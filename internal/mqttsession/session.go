// Package mqttsession holds one MQTT 3.1.1 connection to AWS IoT Core: opened,
// used and closed under a context, never reconnected.
//
// It wraps the paho client and is the only importer of it. paho knows nothing
// of contexts, trusts what a server sends, and reconnects by itself; a
// provisioning exchange is bound to one connection and talks to a network that
// may lie. Everything paho reads passes a guard first, which bounds and checks
// each packet.
package mqttsession

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	// AWS IoT takes 30 to 1,200 seconds (AWS developer guide, "mqtt"). A
	// minute keeps the state of a NAT router alive.
	keepAlive = 60 * time.Second

	// handOff bounds how long a call of paho may wait to hand a packet to
	// paho's writer, which is gone when the connection is. If that happens in
	// the same moment, the call outlasts the session by so much.
	handOff = time.Second

	// goodbye bounds the writing of DISCONNECT, which nobody waits for.
	goodbye = 250 * time.Millisecond

	qosAtLeastOnce = 1
)

// Session is one open MQTT connection.
type Session struct {
	conn   net.Conn
	client mqtt.Client
	topics []string

	// answers holds, for each topic, the first message since the last Publish.
	answers map[string]chan []byte

	subscribed mqtt.Token // done with the SUBACK; set by Subscribe

	lost   chan struct{} // closed when the connection is gone
	cause  error         // why; set before lost is closed
	ending sync.Once
	closed chan struct{} // closed when the goodbye is over
}

// Open sends CONNECT over conn and waits for CONNACK. It owns conn from then
// on, and closes it if it fails. Messages on topics are kept for [Session.Await]
// from the first moment; all others are ignored.
//
// A refusal is a [*ConnackError], an answer that breaks the protocol is
// [ErrProtocol]; when ctx ends the error is its cause.
func Open(ctx context.Context, conn net.Conn, clientID string, topics ...string) (*Session, error) {
	s := &Session{
		conn:    conn,
		topics:  topics,
		answers: make(map[string]chan []byte, len(topics)),
		lost:    make(chan struct{}),
		closed:  make(chan struct{}),
	}
	for _, topic := range topics {
		s.answers[topic] = make(chan []byte, 1)
	}
	s.client = mqtt.NewClient(s.options(newGuard(conn, s.keep), clientID))

	token := s.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		s.abort()
		return nil, context.Cause(ctx)
	}
	if err := token.Error(); err != nil {
		s.abort()
		return nil, withoutPrefix(err)
	}
	return s, nil
}

// withoutPrefix takes away what paho puts in front of an error of the network:
// that it is one.
func withoutPrefix(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		causes := joined.Unwrap()
		return causes[len(causes)-1]
	}
	return err
}

func (s *Session) options(conn *guard, clientID string) *mqtt.ClientOptions {
	return mqtt.NewClientOptions().
		// The address is never dialled: the connection is open already.
		AddBroker("tcp://broker").
		SetCustomOpenConnectionFn(func(_ *url.URL, _ mqtt.ClientOptions) (net.Conn, error) { return conn, nil }).
		SetClientID(clientID).
		// Without it a refused CONNACK is followed by a second CONNECT, at
		// MQTT 3.1.
		SetProtocolVersion(4).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetKeepAlive(keepAlive).
		SetWriteTimeout(handOff).
		// Out of order, each message would start a goroutine, and a flood of
		// them would fill the memory.
		SetOrderMatters(true).
		// The guard has delivered the message; paho acknowledges it.
		SetDefaultPublishHandler(func(mqtt.Client, mqtt.Message) {}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			s.cause = err
			close(s.lost)
		})
}

// keep holds the first message on a topic that is waited for. AWS IoT may
// deliver a message more than once, so that a second one is no news. It never
// blocks: the connection is read from under it.
func (s *Session) keep(topic string, payload []byte) {
	select {
	case s.answers[topic] <- payload:
	default:
	}
}

// Subscribe asks for the topics of the session at QoS 1 in one packet. Whether
// they are granted is for [Session.Subscribed] to say. It fails only with ctx.
func (s *Session) Subscribe(ctx context.Context) error {
	filters := make(map[string]byte, len(s.topics))
	for _, topic := range s.topics {
		filters[topic] = qosAtLeastOnce
	}
	// The call ends when the connection is lost, too. It is waited for, because
	// the acknowledgement may have come before the loss.
	select {
	case s.subscribed = <-s.start(func() mqtt.Token { return s.client.SubscribeMultiple(filters, nil) }):
		return nil
	case <-ctx.Done():
		return s.ended(ctx)
	}
}

// Subscribed waits for the acknowledgement of [Session.Subscribe]. A refused
// topic is a [*SubackError].
func (s *Session) Subscribed(ctx context.Context) error {
	token := s.subscribed
	if err := s.wait(ctx, token.Done()); err != nil {
		return err
	}
	if err := token.Error(); err != nil {
		return s.broken(ctx, err)
	}
	codes := token.(*mqtt.SubscribeToken).Result()
	for _, topic := range s.topics {
		code, answered := codes[topic]
		if !answered {
			return fmt.Errorf("%w: SUBSCRIBE was acknowledged without a return code for %s", ErrProtocol, topic)
		}
		if code > qosAtLeastOnce {
			return &SubackError{Filter: topic, Code: code}
		}
	}
	return nil
}

// Publish sends payload to topic at QoS 1. It does not wait for PUBACK, which
// AWS IoT may send after the answer. What came in before is forgotten: it cannot
// be the answer to what is sent now.
//
// It fails only with ctx. That the connection is lost is for [Session.Await] to
// say: the answer may have come before the end.
func (s *Session) Publish(ctx context.Context, topic string, payload []byte) error {
	for _, answer := range s.answers {
		select {
		case <-answer:
		default:
		}
	}
	sent := s.start(func() mqtt.Token { return s.client.Publish(topic, qosAtLeastOnce, false, payload) })
	select {
	case <-sent:
	case <-s.lost:
	case <-ctx.Done():
		return s.ended(ctx)
	}
	return nil
}

// Await returns the first message since the last Publish on either of two
// topics of the session.
func (s *Session) Await(ctx context.Context, either, or string) (topic string, payload []byte, err error) {
	select {
	case payload = <-s.answers[either]:
		return either, payload, nil
	case payload = <-s.answers[or]:
		return or, payload, nil
	case <-s.lost:
	case <-ctx.Done():
	}
	// An answer that arrived together with the end is an answer.
	select {
	case payload = <-s.answers[either]:
		return either, payload, nil
	case payload = <-s.answers[or]:
		return or, payload, nil
	default:
		return "", nil, s.ended(ctx)
	}
}

// Close says goodbye and closes the connection, in the background: it returns
// at once. [Session.Closed] tells when it is over.
func (s *Session) Close() {
	s.ending.Do(func() {
		go func() {
			defer close(s.closed)
			s.client.Disconnect(uint(goodbye.Milliseconds()))
		}()
	})
}

// Closed is closed when the goodbye begun by [Session.Close] is over.
func (s *Session) Closed() <-chan struct{} { return s.closed }

// abort drops the connection without a word, and with it every read and write
// that is under way.
func (s *Session) abort() {
	s.ending.Do(func() {
		defer close(s.closed)
		// Closing a TLS connection would try to write an alert first, and
		// wait for a network that does not take it.
		if conn, ok := s.conn.(interface{ NetConn() net.Conn }); ok {
			conn.NetConn().Close()
		}
		s.conn.Close()
		s.client.Disconnect(0)
	})
}

// start runs a call of paho beside its caller, because it blocks while the
// connection takes nothing, and for a moment more when it is gone.
func (s *Session) start(call func() mqtt.Token) <-chan mqtt.Token {
	tokens := make(chan mqtt.Token, 1)
	go func() { tokens <- call() }()
	return tokens
}

// wait waits for done, which wins over an end that came together with it.
func (s *Session) wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.lost:
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	default:
		return s.ended(ctx)
	}
}

// broken returns why the connection is gone when paho says no more than that
// it is, and err if it is not gone after all.
func (s *Session) broken(ctx context.Context, err error) error {
	select {
	case <-s.lost:
		return s.ended(ctx)
	case <-time.After(handOff):
		return err
	case <-ctx.Done():
		return s.ended(ctx)
	}
}

// ended tells why a wait is over, and drops the connection if it was the
// context: an answer that comes later must not meet the next request.
func (s *Session) ended(ctx context.Context) error {
	select {
	case <-s.lost:
		return s.cause
	default:
		s.abort()
		return context.Cause(ctx)
	}
}
