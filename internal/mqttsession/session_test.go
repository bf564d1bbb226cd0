package mqttsession_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/mqttsession"
)

const (
	accepted = "$aws/certificates/create/json/accepted"
	rejected = "$aws/certificates/create/json/rejected"
)

// server is the other end of a connection, driven by a test.
type server struct {
	net.Conn
	t *testing.T
}

// pipe connects a server to what is handed to Open. It runs in a bubble, where
// a wait that nobody ends fails the test as a deadlock.
func pipe(t *testing.T) (client net.Conn, s *server) {
	t.Helper()
	client, conn := net.Pipe()
	t.Cleanup(func() { conn.Close() })
	return client, &server{conn, t}
}

// reads expects the next packet and returns it.
func (s *server) reads(kind byte) packets.ControlPacket {
	s.t.Helper()
	packet, err := packets.ReadPacket(s)
	require.NoError(s.t, err)
	header := map[byte]any{
		packets.Connect: &packets.ConnectPacket{}, packets.Subscribe: &packets.SubscribePacket{},
		packets.Publish: &packets.PublishPacket{}, packets.Puback: &packets.PubackPacket{}, packets.Disconnect: &packets.DisconnectPacket{},
	}[kind]
	require.IsType(s.t, header, packet)
	return packet
}

// sends writes bytes as they are, to a client that may have left by now.
func (s *server) sends(b ...byte) { _, _ = s.Write(b) }

func publishes(topic, payload string) []byte {
	body := append([]byte{0, byte(len(topic))}, topic...)
	body = append(body, 0, 7)
	body = append(body, payload...)
	return append([]byte{0x32, byte(len(body))}, body...)
}

// serve runs script beside the test.
func (s *server) serve(script func()) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		script()
	}()
	return done
}

func (s *server) acceptsConnect() {
	s.reads(packets.Connect)
	s.sends(0x20, 2, 0, 0)
}

func TestConnectPacketIsMQTT311WithACleanSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, s := pipe(t)
		done := s.serve(func() {
			connect := s.reads(packets.Connect).(*packets.ConnectPacket)
			assert.Equal(t, "MQTT", connect.ProtocolName)
			assert.Equal(t, byte(4), connect.ProtocolVersion)
			assert.True(t, connect.CleanSession)
			assert.Equal(t, "client-1", connect.ClientIdentifier)
			assert.GreaterOrEqual(t, connect.Keepalive, uint16(30))
			assert.LessOrEqual(t, connect.Keepalive, uint16(1200))
			s.sends(0x20, 2, 0, 0)
			s.reads(packets.Disconnect)
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1")
		require.NoError(t, err)
		session.Close()
		<-session.Closed()
		<-done
	})
}

func TestOneSubscribeCarriesAllTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, s := pipe(t)
		s.serve(func() {
			s.acceptsConnect()
			subscribe := s.reads(packets.Subscribe).(*packets.SubscribePacket)
			assert.ElementsMatch(t, []string{accepted, rejected}, subscribe.Topics)
			assert.Equal(t, []byte{1, 1}, subscribe.Qoss)
			s.sends(0x90, 4, 0, byte(subscribe.MessageID), 1, 1)
			_, _ = io.Copy(io.Discard, s)
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
		require.NoError(t, err)
		defer session.Close()
		assert.NoError(t, subscribe(session, t.Context()))
	})
}

// subscribe asks for the topics and waits until they are granted.
func subscribe(session *mqttsession.Session, ctx context.Context) error {
	if err := session.Subscribe(ctx); err != nil {
		return err
	}
	return session.Subscribed(ctx)
}

// What is sent, from the first byte to the last: one SUBSCRIBE and what is
// published behind it, in this order though nobody waits between them, what came
// is acknowledged, and nothing is said before DISCONNECT.
func TestPacketsOfAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, s := pipe(t)
		done := s.serve(func() {
			s.acceptsConnect()
			asked := s.reads(packets.Subscribe).(*packets.SubscribePacket)
			s.reads(packets.Publish)
			s.sends(publishes(accepted, "before the SUBACK")...)
			s.reads(packets.Puback)
			s.sends(0x90, 4, 0, byte(asked.MessageID), 1, 1)
			s.reads(packets.Disconnect)
			_, err := packets.ReadPacket(s)
			assert.ErrorIs(t, err, io.EOF)
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
		require.NoError(t, err)
		require.NoError(t, session.Subscribe(t.Context()))
		require.NoError(t, session.Publish(t.Context(), "$aws/certificates/create/json", nil))
		require.NoError(t, session.Subscribed(t.Context()))
		_, payload, err := session.Await(t.Context(), accepted, rejected)
		require.NoError(t, err)
		assert.Equal(t, "before the SUBACK", string(payload))
		session.Close()
		<-done
	})
}

// paho may put each of the two on its way by a goroutine of its own.
func TestPublishDoesNotOvertakeSubscribe(t *testing.T) {
	for range 100 {
		conn, s := pipe(t)
		done := s.serve(func() {
			s.acceptsConnect()
			s.reads(packets.Subscribe)
			s.reads(packets.Publish)
			_, _ = io.Copy(io.Discard, s)
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
		require.NoError(t, err)
		require.NoError(t, session.Subscribe(t.Context()))
		require.NoError(t, session.Publish(t.Context(), "$aws/certificates/create/json", nil))
		session.Close()
		<-done
	}
}

func TestConnackThatRefuses(t *testing.T) {
	for _, code := range []byte{1, 2, 3, 4, 5, 7, 0x80} {
		synctest.Test(t, func(t *testing.T) {
			conn, s := pipe(t)
			done := s.serve(func() {
				s.reads(packets.Connect)
				s.sends(0x20, 2, 0, code)
				_, err := packets.ReadPacket(s)
				assert.ErrorIs(t, err, io.EOF, "there must be no second CONNECT")
			})
			session, err := mqttsession.Open(t.Context(), conn, "client-1")
			var refused *mqttsession.ConnackError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, code, refused.Code)
			assert.Nil(t, session)
			<-done
		})
	}
}

func TestSubackThatRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		suback []byte
		is     func(*testing.T, error)
	}{
		"one filter refused": {[]byte{0x90, 4, 0, 1, 1, 0x80}, func(t *testing.T, err error) {
			var refused *mqttsession.SubackError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, byte(0x80), refused.Code)
		}},
		"granted at a QoS that was not asked for": {[]byte{0x90, 4, 0, 1, 2, 1}, func(t *testing.T, err error) {
			var refused *mqttsession.SubackError
			require.ErrorAs(t, err, &refused)
		}},
		"more codes than filters":  {[]byte{0x90, 6, 0, 1, 1, 1, 1, 1}, isProtocol},
		"fewer codes than filters": {[]byte{0x90, 3, 0, 1, 1}, isProtocol},
		"no codes":                 {[]byte{0x90, 2, 0, 1}, isProtocol},
		"for another packet id":    {[]byte{0x90, 4, 0, 9, 1, 1}, isProtocol},
		"not even a packet id":     {[]byte{0x90, 0}, isProtocol},
		"PUBACK under its id, then the end": {[]byte{0x40, 2, 0, 1}, func(t *testing.T, err error) {
			assert.ErrorIs(t, err, io.EOF, "it is not taken for the SUBACK")
		}},
		"UNSUBACK under its id":          {[]byte{0xb0, 2, 0, 1}, isProtocol},
		"PUBACK of the wrong size":       {[]byte{0x40, 3, 0, 1, 1}, isProtocol},
		"a second CONNACK, then the end": {[]byte{0x20, 2, 0, 0}, func(t *testing.T, err error) { assert.ErrorIs(t, err, io.EOF) }},
		"a packet of a reserved type":    {[]byte{0xf0, 0}, isProtocol},
		"256 MB announced":               {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, isProtocol},
		"PUBLISH at QoS 2":               {[]byte{0x34, 5, 0, 1, 'a', 0, 1}, isProtocol},
		"PUBLISH shorter than its topic": {[]byte{0x30, 3, 0, 9, 'a'}, isProtocol},
		"PUBLISH without a packet id":    {[]byte{0x32, 3, 0, 1, 'a'}, isProtocol},
		"half a packet, then the end": {[]byte{0x90, 4, 0}, func(t *testing.T, err error) {
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, s := pipe(t)
				s.serve(func() {
					s.acceptsConnect()
					s.reads(packets.Subscribe)
					s.sends(test.suback...)
					s.Close()
				})
				session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
				require.NoError(t, err)
				defer session.Close()
				test.is(t, subscribe(session, t.Context()))
			})
		})
	}
}

// paho completes whatever has the packet id of an acknowledgement, and panics if it
// fails in the same moment.
func TestAcknowledgementsThatPrecedeWhatTheyAcknowledge(t *testing.T) {
	for range 300 {
		conn, s := pipe(t)
		done := s.serve(func() {
			s.acceptsConnect()
			s.sends(0x40, 2, 0, 1, 0x40, 2, 0, 1, 0x90, 4, 0, 1, 1, 1)
			s.Close()
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
		if err != nil {
			continue // the end came first
		}
		assert.Error(t, subscribe(session, t.Context()))
		session.Close()
		<-session.Closed()
		<-done
	}
}

func isProtocol(t *testing.T, err error) {
	t.Helper()
	assert.ErrorIs(t, err, mqttsession.ErrProtocol)
}

// exchange opens a session whose server reads a request and then runs answer.
func exchange(t *testing.T, answer func(s *server)) (topic, payload string, err error) {
	conn, s := pipe(t)
	s.serve(func() {
		s.acceptsConnect()
		s.reads(packets.Publish)
		answer(s)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	session, err := mqttsession.Open(ctx, conn, "client-1", accepted, rejected)
	require.NoError(t, err)
	defer session.Close()
	require.NoError(t, session.Publish(ctx, "$aws/certificates/create/json", nil))
	topic, got, err := session.Await(ctx, accepted, rejected)
	return topic, string(got), err
}

func TestAwaitReturnsTheFirstAnswer(t *testing.T) {
	for name, packets := range map[string][][]byte{
		"one answer":                    {publishes(accepted, "first")},
		"an answer and its duplicates":  {publishes(accepted, "first"), publishes(accepted, "second"), publishes(accepted, "third")},
		"behind a message nobody asked": {publishes("somebody/else", "noise"), publishes(accepted, "first")},
		"behind its own PUBACK":         {{0x40, 2, 0, 1}, publishes(accepted, "first")},
		"behind a PUBACK nobody waits":  {{0x40, 2, 0, 9}, publishes(accepted, "first")},
		"behind a second CONNACK":       {{0x20, 2, 0, 0}, publishes(accepted, "first")},
		"behind a SUBACK nobody waits":  {{0x90, 3, 0, 9, 1}, publishes(accepted, "first")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topic, payload, err := exchange(t, func(s *server) {
					go io.Copy(io.Discard, s)
					for _, p := range packets {
						s.sends(p...)
					}
				})
				require.NoError(t, err)
				assert.Equal(t, accepted, topic)
				assert.Equal(t, "first", payload)
			})
		})
	}
}

// The server closes right behind its answer. What has arrived must not be lost.
func TestAnswerThenEndIsAnAnswer(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			_, payload, err := exchange(t, func(s *server) {
				s.sends(publishes(accepted, "just in time")...)
				s.Close()
			})
			require.NoError(t, err)
			assert.Equal(t, "just in time", payload)
		})
	}
}

func TestWaitsEndWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := exchange(t, func(s *server) { s.Close() })
		assert.ErrorIs(t, err, io.EOF)
	})
}

func TestWaitsEndWithTheContext(t *testing.T) {
	cause := errors.New("the caller's reason")
	silence := func(s *server) { _, _ = io.Copy(io.Discard, s) }
	for name, test := range map[string]struct {
		serve func(*server)
		run   func(context.Context, net.Conn) error
	}{
		"CONNECT that nobody reads": {func(*server) {}, func(ctx context.Context, conn net.Conn) error {
			_, err := mqttsession.Open(ctx, conn, "client-1")
			return err
		}},
		"CONNECT without CONNACK": {silence, func(ctx context.Context, conn net.Conn) error {
			_, err := mqttsession.Open(ctx, conn, "client-1")
			return err
		}},
		"SUBSCRIBE that nobody reads": {(*server).acceptsConnect, opened(subscribe)},
		"SUBSCRIBE without SUBACK": {func(s *server) { s.acceptsConnect(); silence(s) },
			opened(subscribe)},
		"PUBLISH that nobody reads": {(*server).acceptsConnect, opened(func(s *mqttsession.Session, ctx context.Context) error {
			for {
				if err := s.Publish(ctx, "a", nil); err != nil {
					return err
				}
			}
		})},
		"an answer that does not come": {func(s *server) { s.acceptsConnect(); silence(s) },
			opened(func(s *mqttsession.Session, ctx context.Context) error {
				_, _, err := s.Await(ctx, accepted, rejected)
				return err
			})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, s := pipe(t)
				s.serve(func() { test.serve(s) })
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
				defer cancel()
				began := time.Now()
				err := test.run(ctx, conn)
				assert.ErrorIs(t, err, cause)
				assert.Equal(t, time.Second, time.Since(began))
				// paho gives up handing over a packet after a while.
				<-time.After(time.Minute)
			})
		})
	}
}

func opened(run func(*mqttsession.Session, context.Context) error) func(context.Context, net.Conn) error {
	return func(ctx context.Context, conn net.Conn) error {
		session, err := mqttsession.Open(ctx, conn, "client-1", accepted, rejected)
		if err != nil {
			return err
		}
		defer session.Close()
		return run(session, ctx)
	}
}

// AWS IoT ends a connection that is silent for one and a half times its keep-alive (AWS
// developer guide, "mqtt"). Each PINGREQ gets its PINGRESP, and the session goes on.
func TestASessionThatOutlivesItsKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, payload, err := exchange(t, func(s *server) {
			last := time.Now()
			for range 5 {
				packet, err := packets.ReadPacket(s)
				if err != nil {
					return // the client has left, and tells why
				}
				assert.IsType(t, &packets.PingreqPacket{}, packet)
				assert.Less(t, time.Since(last), 90*time.Second)
				last = time.Now()
				s.sends(0xd0, 0)
			}
			s.sends(publishes(accepted, "after five minutes")...)
			_, _ = io.Copy(io.Discard, s)
		})
		require.NoError(t, err)
		assert.Equal(t, accepted, topic)
		assert.Equal(t, "after five minutes", payload)
	})
}

// Without a PINGRESP the connection is dead, though nobody has said so.
func TestAServerThatAnswersNoPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, _, err := exchange(t, func(s *server) { _, _ = io.Copy(io.Discard, s) })
		assert.ErrorContains(t, err, "pingresp not received")
		assert.Less(t, time.Since(began), 2*time.Minute)
	})
}

func TestPingrespThatIsNone(t *testing.T) {
	for name, packet := range map[string][]byte{
		"with a body":  {0xd0, 1, 0},
		"with a flag":  {0xd1, 0},
		"ahead of all": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if packet == nil {
					conn, s := pipe(t)
					s.serve(func() { s.reads(packets.Connect); s.sends(0xd0, 0) })
					_, err := mqttsession.Open(t.Context(), conn, "client-1")
					isProtocol(t, err)
					return
				}
				_, _, err := exchange(t, func(s *server) { s.sends(packet...) })
				isProtocol(t, err)
			})
		})
	}
}

func TestPublishForgetsWhatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, s := pipe(t)
		s.serve(func() {
			s.acceptsConnect()
			s.sends(publishes(accepted, "of another time")...)
			s.reads(packets.Puback)
			s.reads(packets.Publish)
			s.sends(publishes(accepted, "the answer")...)
			_, _ = io.Copy(io.Discard, s)
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
		require.NoError(t, err)
		defer session.Close()
		synctest.Wait()
		require.NoError(t, session.Publish(t.Context(), "$aws/certificates/create/json", nil))
		_, payload, err := session.Await(t.Context(), accepted, rejected)
		require.NoError(t, err)
		assert.Equal(t, "the answer", string(payload))
	})
}

// A server that never stops talking must not fill the memory.
func TestFloodEndsTheSession(t *testing.T) {
	_, _, err := exchange(t, func(s *server) {
		go io.Copy(io.Discard, s)
		noise := publishes(accepted, strings.Repeat("x", 80))
		for {
			if _, err := s.Write(noise); err != nil {
				return
			}
		}
	})
	require.NoError(t, err, "the first of the flood is an answer")

	conn, s := pipe(t)
	s.serve(func() {
		s.acceptsConnect()
		go io.Copy(io.Discard, s)
		noise := publishes("noise", strings.Repeat("x", 100))
		for {
			if _, err := s.Write(noise); err != nil {
				return
			}
		}
	})
	session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
	require.NoError(t, err)
	defer session.Close()
	_, _, err = session.Await(t.Context(), accepted, rejected)
	assert.ErrorIs(t, err, mqttsession.ErrProtocol)
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			conn, s := pipe(t)
			s.serve(func() { s.acceptsConnect(); _, _ = io.Copy(io.Discard, s) })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			err := opened(func(s *mqttsession.Session, ctx context.Context) error {
				_, _, err := s.Await(ctx, accepted, rejected)
				return err
			})(ctx, conn)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		<-time.After(time.Second) // less than the keep-alive, after which paho gives up by itself
		stacks := make([]byte, 4<<20)
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			// Outside of the bubble, another test may be saying goodbye still.
			if strings.Contains(stack, "synctest bubble") {
				require.NotContains(t, stack, "github.com/eclipse/paho%2emqtt%2egolang.")
			}
		}
	})
}

// FuzzServer lets a server say anything after CONNECT: nothing may panic, in
// this goroutine or in one of paho's, and the session must end.
func FuzzServer(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0})
	f.Add([]byte{0x20, 2, 0, 7})
	f.Add(append([]byte{0x20, 2, 0, 0, 0x90, 4, 0, 1, 1, 1}, publishes(accepted, "{}")...))
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 6, 0, 1, 1, 1, 1, 1})
	f.Add([]byte{0x20, 2, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0x20, 2, 0, 0, 0xd0, 0, 0x62, 2, 0, 1, 0x50, 2, 0, 1})
	f.Add([]byte{0x20, 2, 0, 0, 0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x90, 4, 0, 1, 1, 1})
	f.Fuzz(func(t *testing.T, said []byte) {
		conn, s := pipe(t)
		s.serve(func() {
			go io.Copy(io.Discard, s)
			_, _ = s.Write(said)
			s.Close()
		})
		session, err := mqttsession.Open(t.Context(), conn, "client-1", accepted, rejected)
		if err != nil {
			assert.Nil(t, session)
			return
		}
		defer session.Close()
		_ = subscribe(session, t.Context())
		_ = session.Publish(t.Context(), "a", nil)
		if _, payload, err := session.Await(t.Context(), accepted, rejected); err != nil {
			assert.Nil(t, payload)
		}
	})
}
