package broker_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestMessagesAreRoutedByFilter(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	sender := connected(t, addr, "sender")
	receiver := connected(t, addr, "receiver")
	receiver.subscribe("a/+", 1)
	receiver.subscribe("a/#", 0)
	weak := connected(t, addr, "weak")
	weak.subscribe("a/b", 0)
	other := connected(t, addr, "other")
	other.subscribe("b/#", 1)

	sender.send(publishPacket("a/b", "one", 1))
	require.Equal(t, uint16(7), expect[*packets.PubackPacket](sender).MessageID)
	p := expect[*packets.PublishPacket](receiver)
	assert.Equal(t, "a/b", p.TopicName)
	assert.Equal(t, "one", string(p.Payload))
	assert.Equal(t, byte(1), p.Qos, "the highest QoS of the matching filters")
	assert.Equal(t, uint16(1), p.MessageID)
	assert.Equal(t, byte(0), expect[*packets.PublishPacket](weak).Qos)

	for range 10 { // whatever the order of the filters
		sender.send(publishPacket("a/b", "again", 1))
		expect[*packets.PubackPacket](sender)
		assert.Equal(t, byte(1), expect[*packets.PublishPacket](receiver).Qos)
		expect[*packets.PublishPacket](weak)
	}

	sender.send(publishPacket("a/b", "two", 0))
	assert.Equal(t, byte(0), expect[*packets.PublishPacket](receiver).Qos, "not higher than that of the message")
	expect[*packets.PublishPacket](weak)

	for _, c := range []*client{sender, receiver, weak, other} {
		c.ping()
	}
}

func TestUnsubscribe(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	c := connected(t, addr, "device")
	c.subscribe("a", 0)
	c.subscribe("b", 0)
	p := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
	p.MessageID, p.Topics = 9, []string{"a", "never subscribed to"}
	c.send(p)
	require.Equal(t, uint16(9), expect[*packets.UnsubackPacket](c).MessageID)
	c.send(publishPacket("a", "", 0))
	c.ping()
	c.send(publishPacket("b", "", 0))
	assert.Equal(t, "b", expect[*packets.PublishPacket](c).TopicName)
}

func TestPacketIDsSkipZero(t *testing.T) {
	_, addr := start(t, &permissive{publish: func(c *broker.Conn, p *packets.PublishPacket) {
		for range 1 << 16 {
			c.Deliver("a", nil, 1)
		}
	}}, nil)
	c := connected(t, addr, "device")
	c.subscribe("a", 1)
	c.send(publishPacket("start", "", 0))
	for i := range 1<<16 - 1 {
		require.Equal(t, uint16(i+1), expect[*packets.PublishPacket](c).MessageID)
	}
	assert.Equal(t, uint16(1), expect[*packets.PublishPacket](c).MessageID)
}

func TestFirstPacket(t *testing.T) {
	mqtt31 := connectPacket("device")
	mqtt31.ProtocolName, mqtt31.ProtocolVersion = "MQIsdp", 3
	passwordOnly := connectPacket("device")
	passwordOnly.PasswordFlag = true
	pipelined := append(frame(connectPacket("device")), frame(packets.NewControlPacket(packets.Pingreq))...)

	for _, test := range []struct {
		name  string
		first []byte
		reply []byte // before the connection is closed
	}{
		{"MQTT 3.1", frame(mqtt31), []byte{0x20, 2, 0, 1}},
		{"a password without a user name", frame(passwordOnly), []byte{0x20, 2, 0, 4}},
		{"something else", frame(packets.NewControlPacket(packets.Pingreq)), nil},
		{"a packet right after CONNECT", pipelined, nil},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: " + strings.Repeat("x", 40)), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, addr := start(t, &permissive{}, nil)
			c := dial(t, addr)
			_, err := c.conn.Write(test.first)
			require.NoError(t, err)
			reply := make([]byte, len(test.reply))
			_, err = io.ReadFull(c.conn, reply)
			require.NoError(t, err)
			assert.Equal(t, string(test.reply), string(reply))
			c.closed()
		})
	}
}

func frame(p packets.ControlPacket) []byte {
	var b bytes.Buffer
	p.Write(&b)
	return b.Bytes()
}

func TestPacketsThatEndTheConnection(t *testing.T) {
	for name, sent := range map[string][]byte{
		"a second CONNECT":                    frame(connectPacket("again")),
		"a packet that only servers send":     {0x20, 2, 0, 0},
		"a packet of QoS 2's handshake":       frame(packets.NewControlPacket(packets.Pubrel)),
		"a reserved type":                     {0xf0, 0},
		"256 MB announced":                    {0x30, 0xff, 0xff, 0xff, 0x7f},
		"a length of five bytes":              {0x30, 0x80, 0x80, 0x80, 0x80, 0x01},
		"a topic longer than its packet":      {0x30, 4, 0, 9, 'a', 'b'},
		"a PINGREQ with a body":               {0xc0, 1, 0},
		"a PUBLISH of QoS 3":                  {0x36, 5, 0, 1, 'a', 0, 1},
		"a PUBLISH to a wildcard":             {0x30, 3, 0, 1, '#'},
		"a PUBLISH without a topic":           {0x30, 2, 0, 0},
		"a PUBLISH with packet id 0":          {0x32, 5, 0, 1, 'a', 0, 0},
		"a topic that is not UTF-8":           {0x30, 3, 0, 1, 0xff},
		"a topic with a zero byte":            {0x30, 3, 0, 1, 0},
		"a SUBSCRIBE without filters":         {0x82, 2, 0, 1},
		"a SUBSCRIBE with packet id 0":        {0x82, 6, 0, 0, 0, 1, 'a', 0},
		"a SUBSCRIBE of QoS 3":                {0x82, 6, 0, 1, 0, 1, 'a', 3},
		"a SUBSCRIBE cut before its QoS":      {0x82, 5, 0, 1, 0, 1, 'a'},
		"a SUBSCRIBE to a broken filter":      {0x82, 7, 0, 1, 0, 2, 'a', '#', 0},
		"an UNSUBSCRIBE without filters":      {0xa2, 2, 0, 1},
		"an UNSUBSCRIBE with a broken filter": {0xa2, 6, 0, 1, 0, 2, '#', '#'},
		"a PUBACK of one byte":                {0x40, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, &permissive{}, nil)
			c := connected(t, addr, "device")
			_, err := c.conn.Write(sent)
			require.NoError(t, err)
			c.closed()
		})
	}
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		server := serve(t, &permissive{}, nil, listener)
		defer server.Close()
		c := newClient(t, connectPipe(t, listener))
		c.conn.SetDeadline(time.Time{})
		p := connectPacket("device")
		p.Keepalive = 10
		c.send(p)
		expect[*packets.ConnackPacket](c)

		<-time.After(14 * time.Second)
		c.ping()
		start := time.Now()
		c.closed()
		assert.Equal(t, 15*time.Second, time.Since(start))
	})
}

func TestDelayedAcceptIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		server := serve(t, &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
			c.After(time.Hour, func() { accept(c, p) })
		}}, nil, listener)
		defer server.Close()
		c := newClient(t, connectPipe(t, listener))
		c.conn.SetDeadline(time.Time{})
		start := time.Now()
		c.connect("device")
		assert.Equal(t, time.Hour, time.Since(start), "the keep-alive period has not begun before")
		c.ping()
	})
}

func TestAfterEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		called := false
		server := serve(t, &permissive{publish: func(c *broker.Conn, p *packets.PublishPacket) {
			c.After(time.Hour, func() { called = true })
		}}, nil, listener)
		c := newClient(t, connectPipe(t, listener))
		c.connect("device")
		c.send(publishPacket("a", "", 0))
		c.ping()
		c.conn.Close()
		start := time.Now()
		synctest.Wait()
		server.Close()
		assert.Zero(t, time.Since(start))
		assert.False(t, called)
	})
}

// Time is real here: virtual time would put things in an order, and hide races.
func TestAfterOnAConnectionThatEnds(t *testing.T) {
	conns := make(chan *broker.Conn)
	server, addr := start(t, &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
		conns <- c
		accept(c, p)
	}}, nil)
	var others sync.WaitGroup
	for range 20 {
		c := dial(t, addr)
		c.send(connectPacket("device"))
		conn := provtest.Wait(t, conns)
		others.Go(func() {
			for !conn.Over() {
				conn.After(time.Nanosecond, func() {})
			}
			conn.After(time.Nanosecond, func() { assert.Fail(t, "called after the end") })
		})
		expect[*packets.ConnackPacket](c)
		c.send(packets.NewControlPacket(packets.Disconnect))
		c.closed()
	}
	within(t, "the ends of all connections", others.Wait)
	server.Close()
}

func TestClosedIsCalledBeforeTheClientHasReadTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		closed := make(chan time.Time, 1)
		server := &broker.Server{
			Handler: &permissive{publish: func(c *broker.Conn, _ *packets.PublishPacket) {
				c.SendRaw([]byte("the rest"))
				c.Fail(nil)
			}},
			Closed: func(*broker.Conn, error) { closed <- time.Now() },
		}
		go server.Serve(listener)
		defer server.Close()
		c := newClient(t, connectPipe(t, listener))
		c.connect("device")
		start := time.Now()
		c.send(publishPacket("a", "", 0))
		assert.Zero(t, provtest.Wait(t, closed).Sub(start), "the client has not read anything yet")
		rest, err := io.ReadAll(c.conn)
		require.NoError(t, err)
		assert.Equal(t, "the rest", string(rest))
	})
}

func TestClientThatDoesNotReadDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		server := serve(t, &permissive{}, nil, listener)
		defer server.Close()
		stuck := newClient(t, connectPipe(t, listener))
		stuck.connect("stuck")
		stuck.subscribe("a", 0)
		c := newClient(t, connectPipe(t, listener))
		c.connect("device")
		payload := strings.Repeat("x", 128<<10)
		for range 60 { // 7.5 MB: what is kept for a client that may yet read
			c.send(publishPacket("a", payload, 0))
		}
		c.ping()
		for range 60 {
			require.Len(t, expect[*packets.PublishPacket](stuck).Payload, len(payload))
		}
		for range 140 { // twice that and more: as much may be on its way
			c.send(publishPacket("a", payload, 0))
		}
		c.ping()
		stuck.closed()
	})
}

func TestLastBytesArriveBeforeTheEnd(t *testing.T) {
	_, addr := start(t, &permissive{publish: func(c *broker.Conn, p *packets.PublishPacket) {
		c.SendRaw(bytes.Repeat([]byte("x"), 1<<20))
		c.Fail(nil)
		c.SendRaw([]byte("too late"))
	}}, nil)
	c := connected(t, addr, "device")
	c.send(publishPacket("a", "", 0))
	// If the server simply closed a TCP socket with these bytes unread, the client
	// would lose what it has not read yet.
	c.conn.Write(make([]byte, 1<<10))
	all, err := io.ReadAll(c.conn)
	require.NoError(t, err)
	assert.Len(t, all, 1<<20)
	assert.NotContains(t, string(all), "late")
}

func TestLastBytesArriveBeforeTheEndOfTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testca.New("root")
		listener := fleetprovtest.NewPipeListener()
		server := serve(t, &permissive{publish: func(c *broker.Conn, p *packets.PublishPacket) {
			c.SendRaw(bytes.Repeat([]byte("x"), 1<<20))
			c.After(time.Second, func() { c.Fail(nil) })
		}}, &tls.Config{Certificates: []tls.Certificate{ca.Server(testca.Validity{}, "localhost")}}, listener)
		defer server.Close()
		c := newClient(t, tls.Client(connectPipe(t, listener), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}))
		c.connect("device")
		c.send(publishPacket("a", "", 0))
		<-time.After(time.Second + time.Millisecond)
		synctest.Wait() // the server has closed it, and most is still to be sent
		all, err := io.ReadAll(c.conn)
		require.NoError(t, err)
		assert.Len(t, all, 1<<20)
	})
}

func TestOverTLS(t *testing.T) {
	ca := testca.New("root")
	var state *tls.ConnectionState
	_, addr := start(t, &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
		state = c.TLS()
		accept(c, p)
	}}, &tls.Config{
		Certificates: []tls.Certificate{ca.Server(testca.Validity{}, "localhost")},
		ClientAuth:   tls.RequireAnyClientCert,
	})
	device := ca.Client("device", testca.Validity{})
	conn, err := tls.Dial("tcp", addr, &tls.Config{
		RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{device},
	})
	require.NoError(t, err)
	c := newClient(t, conn)
	c.connect("device")
	require.NotNil(t, state)
	assert.Equal(t, device.Leaf.Raw, state.PeerCertificates[0].Raw)
}

func TestTLSIsNilWithoutTLS(t *testing.T) {
	var state *tls.ConnectionState
	_, addr := start(t, &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
		state = c.TLS()
		accept(c, p)
	}}, nil)
	connected(t, addr, "device")
	assert.Nil(t, state)
}

func TestNewConnectionTakesOverTheClientID(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	first := connected(t, addr, "device")
	first.subscribe("a", 0)
	second := connected(t, addr, "device")
	first.closed()
	second.send(publishPacket("a", "", 0))
	second.ping() // the subscription went with the first connection
	second.subscribe("a", 0)
	second.send(publishPacket("a", "", 0))
	expect[*packets.PublishPacket](second)
}

func TestCloseEndsEverything(t *testing.T) {
	server, addr := start(t, &permissive{publish: func(c *broker.Conn, p *packets.PublishPacket) {
		c.After(time.Hour, func() {})
	}}, nil)
	c := connected(t, addr, "device")
	c.send(publishPacket("a", "", 0))
	c.ping()
	silent := dial(t, addr)

	server.Close()
	c.closed()
	silent.closed()
	_, err := net.DialTimeout("tcp", addr, patience)
	assert.Error(t, err)
	require.Eventually(t, func() bool { return !running() }, 10*time.Second, 5*time.Millisecond)
}

func TestServeAfterCloseReturns(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &broker.Server{Handler: &permissive{}}
	server.Close()
	server.Serve(listener)
	_, err = listener.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// running reports whether a goroutine of a server is left.
func running() bool {
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	return strings.Contains(stacks, "internal/broker.(*Conn)") || strings.Contains(stacks, "internal/broker.(*outbox)")
}
