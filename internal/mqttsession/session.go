// Package mqttsession holds one MQTT 3.1.1 connection to AWS IoT Core: opened,
// used and closed under a context, never reconnected.
//
// It wraps the paho client, and no other package imports paho, which knows no
// contexts, trusts what a server sends, and reconnects by itself. A provisioning
// exchange is bound to one connection, and cannot trust the network. So everything
// that paho reads passes through a guard first, which limits and checks each packet.
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
	// AWS IoT accepts 30 to 1,200 seconds (AWS developer guide, "mqtt"). A
	// minute is short enough for a NAT router to remember the connection.
	keepAlive = 60 * time.Second

	// handOff limits how long a call of paho waits to hand a packet to paho's
	// writer. The writer ends with the connection; a call made at that moment
	// outlasts the session by this much.
	handOff = time.Second

	// goodbye limits how long DISCONNECT may take. Nobody waits for it.
	goodbye = 250 * time.Millisecond

	qosAtLeastOnce = 1
)

// Session is one open MQTT connection.
type Session struct {
	conn   net.Conn
	client mqtt.Client
	topics []string

	// answers has, for each topic, the first message since the last Publish.
	answers map[string]chan []byte

	subscribed mqtt.Token // done with the SUBACK; set by Subscribe

	lost   chan struct{} // closed when the connection is gone
	cause  error         // why; set before lost is closed
	ending sync.Once
	closed chan struct{} // closed when Close or abort is done
}

// Open sends CONNECT over conn and waits for CONNACK. It takes over conn, and closes it
// if it fails. From the start, messages on topics are kept for [Session.Await]; all
// others are ignored.
//
// A refusal is a [*ConnackError], and an answer that breaks the protocol wraps
// [ErrProtocol]. When ctx ends, the error is its cause.
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

// withoutPrefix removes paho's prefix from an error of the network, which says only
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
		// The address is never dialled: the connection is already open.
		AddBroker("tcp://broker").
		SetCustomOpenConnectionFn(func(_ *url.URL, _ mqtt.ClientOptions) (net.Conn, error) { return conn, nil }).
		SetClientID(clientID).
		// Otherwise paho sends a second CONNECT, at MQTT 3.1, after a refusal.
		SetProtocolVersion(4).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetKeepAlive(keepAlive).
		SetWriteTimeout(handOff).
		// Otherwise each message would start a goroutine, and a flood of them
		// would fill the memory.
		SetOrderMatters(true).
		// The guard has delivered the message already; paho acknowledges it.
		SetDefaultPublishHandler(func(mqtt.Client, mqtt.Message) {}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			s.cause = err
			close(s.lost)
		})
}

// keep stores the first message on each of the session's topics. AWS IoT may deliver a
// message more than once, so duplicates are dropped. It never blocks, since the reader
// of the connection calls it.
func (s *Session) keep(topic string, payload []byte) {
	select {
	case s.answers[topic] <- payload:
	default:
	}
}

// Subscribe asks for the topics of the session at QoS 1 in one packet. It fails only
// when ctx ends; [Session.Subscribed] reports whether the topics were granted.
func (s *Session) Subscribe(ctx context.Context) error {
	filters := make(map[string]byte, len(s.topics))
	for _, topic := range s.topics {
		filters[topic] = qosAtLeastOnce
	}
	// The call also ends when the connection is lost. It is waited for even then,
	// because the acknowledgement may have arrived before.
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

// Publish sends payload to topic at QoS 1. It does not wait for PUBACK, which AWS IoT
// may send after the answer. Messages that arrived before are dropped: they cannot be
// the answer to this one.
//
// It fails only when ctx ends. [Session.Await] reports a lost connection, since the
// answer may have arrived before the loss.
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
	// An answer that arrived together with the end counts.
	select {
	case payload = <-s.answers[either]:
		return either, payload, nil
	case payload = <-s.answers[or]:
		return or, payload, nil
	default:
		return "", nil, s.ended(ctx)
	}
}

// Close sends DISCONNECT and closes the connection in the background: it returns at
// once. [Session.Closed] tells when that is done.
func (s *Session) Close() {
	s.ending.Do(func() {
		go func() {
			defer close(s.closed)
			s.client.Disconnect(uint(goodbye.Milliseconds()))
		}()
	})
}

// Closed returns a channel that is closed when the connection is.
func (s *Session) Closed() <-chan struct{} { return s.closed }

// abort closes the connection without DISCONNECT, which ends every read and write in
// progress.
func (s *Session) abort() {
	s.ending.Do(func() {
		defer close(s.closed)
		// Closing a TLS connection would first try to write an alert, and wait
		// for a network that may not take it.
		if conn, ok := s.conn.(interface{ NetConn() net.Conn }); ok {
			conn.NetConn().Close()
		}
		s.conn.Close()
		s.client.Disconnect(0)
	})
}

// start runs a call of paho in a goroutine, because it blocks while the connection
// accepts no data, and for up to handOff after the connection is lost.
func (s *Session) start(call func() mqtt.Token) <-chan mqtt.Token {
	tokens := make(chan mqtt.Token, 1)
	go func() { tokens <- call() }()
	return tokens
}

// wait waits until done is closed, or the connection or ctx ends. If both happen at
// once, done wins.
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

// broken returns why the connection was lost, since paho's err says only that it was. It
// returns err if the connection was not lost after all.
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

// ended returns why a wait has ended. If it was ctx, it closes the connection: an answer
// that arrives later must not be taken for the answer to the next request.
func (s *Session) ended(ctx context.Context) error {
	select {
	case <-s.lost:
		return s.cause
	default:
		s.abort()
		return context.Cause(ctx)
	}
}
