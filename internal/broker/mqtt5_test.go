package broker_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// connect5 is a CONNECT of MQTT 5 as the client "device", with a keep-alive of
// 60 s.
var connect5 = []byte("\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x06device")

// connack5 is what AWS IoT answers, if shared subscriptions were not available.
var connack5 = []byte{
	0x20, 24, 0, 0, 21,
	0x21, 0, 100, // Receive Maximum
	0x22, 0, 8, // Topic Alias Maximum
	0x27, 0x00, 0x02, 0x48, 0x00, // Maximum Packet Size
	0x24, 1, // Maximum QoS
	0x28, 1, // Wildcard Subscription Available
	0x29, 0, // Subscription Identifier Available
	0x2a, 0, // Shared Subscription Available
	0x25, 1, // Retain Available
}

// connected5 dials and connects with MQTT 5.
func connected5(t *testing.T, addr, clientID string) *client {
	t.Helper()
	c := dial(t, addr)
	c.send5(&packets5.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, CleanStart: true, ClientID: clientID})
	require.Zero(t, expect5[*packets5.Connack](c).ReasonCode)
	return c
}

func (c *client) send5(p packets5.Packet) {
	c.t.Helper()
	_, err := p.WriteTo(c.conn)
	require.NoError(c.t, err)
}

func (c *client) write(b []byte) {
	c.t.Helper()
	_, err := c.conn.Write(b)
	require.NoError(c.t, err)
}

// reads expects bytes.
func (c *client) reads(want []byte) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, _ := io.ReadFull(c.conn, got)
	require.Equal(c.t, string(want), string(got[:n]))
}

func (c *client) subscribe5(o packets5.SubOptions) {
	c.t.Helper()
	c.send5(&packets5.Subscribe{PacketID: 3, Subscriptions: []packets5.SubOptions{o}})
	require.Equal(c.t, []byte{o.QoS}, expect5[*packets5.Suback](c).Reasons)
}

func expect5[P packets5.Packet](c *client) P {
	c.t.Helper()
	p, err := packets5.ReadPacket(c.conn)
	require.NoError(c.t, err)
	require.IsType(c.t, *new(P), p.Content)
	return p.Content.(P)
}

func TestMQTT5SpeaksAsAWSIoT(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	c := dial(t, addr)
	for _, step := range []struct {
		name       string
		sent, want []byte
	}{
		{"CONNECT", connect5, connack5},
		{"SUBSCRIBE", []byte{0x82, 11, 0, 9, 0, 0, 1, 'a', 1, 0, 1, 'b', 0x2c}, []byte{0x90, 5, 0, 9, 0, 1, 0}},
		{"UNSUBSCRIBE", []byte{0xa2, 9, 0, 10, 0, 0, 1, 'b', 0, 1, 'c'}, []byte{0xb0, 5, 0, 10, 0, 0, 0}},
		{"PUBLISH", []byte{0x32, 8, 0, 1, 'x', 0, 7, 0, '{', '}'}, []byte{0x40, 4, 0, 7, 0, 0}},
		{"PINGREQ", []byte{0xc0, 0}, []byte{0xd0, 0}},
		{"PUBLISH to itself", []byte{0x30, 5, 0, 1, 'a', 0, '!'}, []byte{0x30, 5, 0, 1, 'a', 0, '!'}},
		{"PUBACK", []byte{0x40, 2, 0, 1}, nil},
		{"PUBACK with a reason", []byte{0x40, 3, 0, 1, 0x10}, nil},
		{"PUBACK with a property", []byte{0x40, 8, 0, 1, 0, 4, 0x1f, 0, 1, '!'}, nil},
		{"PINGREQ", []byte{0xc0, 0}, []byte{0xd0, 0}},
		{"DISCONNECT", []byte{0xe0, 0}, nil},
	} {
		c.write(step.sent)
		c.reads(step.want)
	}
	c.closed()
}

func TestMQTT5Connack(t *testing.T) {
	connect := func(change func(*packets5.Connect)) packets5.Packet {
		p := &packets5.Connect{
			ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "device", KeepAlive: 5, Properties: &packets5.Properties{},
		}
		change(p)
		return p
	}
	number := func(n uint32) *uint32 { return &n }
	for _, test := range []struct {
		name    string
		connect packets5.Packet
		check   func(*testing.T, *packets5.Connack)
	}{
		{"the keep-alive is another than the client asked for", connect(func(*packets5.Connect) {}),
			func(t *testing.T, ack *packets5.Connack) {
				assert.Equal(t, uint16(30), *ack.Properties.ServerKeepAlive)
			}},
		{"the keep-alive is the client's", connect(func(p *packets5.Connect) { p.KeepAlive = 30 }),
			func(t *testing.T, ack *packets5.Connack) { assert.Nil(t, ack.Properties.ServerKeepAlive) }},
		{"no session outlives its connection",
			connect(func(p *packets5.Connect) { p.Properties.SessionExpiryInterval = number(3600) }),
			func(t *testing.T, ack *packets5.Connack) {
				assert.Zero(t, *ack.Properties.SessionExpiryInterval)
				assert.False(t, ack.SessionPresent)
			}},
		{"no session was asked for", connect(func(*packets5.Connect) {}),
			func(t *testing.T, ack *packets5.Connack) { assert.Nil(t, ack.Properties.SessionExpiryInterval) }},
		{"a session of no length was asked for",
			connect(func(p *packets5.Connect) { p.Properties.SessionExpiryInterval = number(0) }),
			func(t *testing.T, ack *packets5.Connack) { assert.Nil(t, ack.Properties.SessionExpiryInterval) }},
		{"a client without an id is given one", connect(func(p *packets5.Connect) { p.ClientID = "" }),
			func(t *testing.T, ack *packets5.Connack) { assert.Len(t, ack.Properties.AssignedClientID, 26) }},
		{"a client keeps its id", connect(func(*packets5.Connect) {}),
			func(t *testing.T, ack *packets5.Connack) { assert.Empty(t, ack.Properties.AssignedClientID) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, addr := start(t, &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
				assert.Equal(t, p.ClientIdentifier, c.ClientID())
				assert.NotEmpty(t, c.ClientID())
				c.Accept(30 * time.Second)
				c.Send(packets.NewControlPacket(packets.Connack))
			}}, nil)
			c := dial(t, addr)
			c.send5(test.connect)
			ack := expect5[*packets5.Connack](c)
			assert.Zero(t, ack.ReasonCode)
			test.check(t, ack)
		})
	}
}

func TestMQTT5Refusals(t *testing.T) {
	for name, test := range map[string]struct {
		connect []byte
		reason  byte
	}{
		"enhanced authentication":     {[]byte("\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x05\x15\x00\x02hi\x00\x01d"), 0x8c},
		"a Receive Maximum of 0":      {[]byte("\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x00\x00\x01d"), 0x82},
		"a Maximum Packet Size of 0":  {[]byte("\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x05\x27\x00\x00\x00\x00\x00\x01d"), 0x82},
		"a will of QoS 2":             {[]byte("\x10\x14\x00\x04MQTT\x05\x16\x00\x3c\x00\x00\x01d\x00\x00\x01w\x00\x00"), 0x9b},
		"a will to a wildcard":        {[]byte("\x10\x14\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01d\x00\x00\x01#\x00\x00"), 0x90},
		"a will of QoS 3":             {[]byte("\x10\x14\x00\x04MQTT\x05\x1e\x00\x3c\x00\x00\x01d\x00\x00\x01w\x00\x00"), 0x81},
		"a will's QoS without a will": {[]byte("\x10\x0e\x00\x04MQTT\x05\x0a\x00\x3c\x00\x00\x01d"), 0x81},
		"a reserved flag":             {[]byte("\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01d"), 0x81},
		"a CONNECT cut short":         {[]byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01"), 0x81},
		"bytes left over":             {[]byte("\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01dd"), 0x81},
		"a property twice":            {[]byte("\x10\x14\x00\x04MQTT\x05\x02\x00\x3c\x06\x21\x00\x01\x21\x00\x01\x00\x01d"), 0x81},
		"a property of a CONNACK":     {[]byte("\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x02\x24\x01\x00\x01d"), 0x81},
		"a packet behind CONNECT":     {append(bytes.Clone(connect5), 0xc0, 0), 0x82},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, &permissive{}, nil)
			c := dial(t, addr)
			c.write(test.connect)
			c.reads([]byte{0x20, 3, 0, test.reason, 0})
			c.closed()
		})
	}
}

func TestMQTT5TranslatesReturnCodes(t *testing.T) {
	for code, reason := range map[byte]byte{
		1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87, 7: 0x87, 6: 0x80, 0x97: 0x97,
	} {
		_, addr := start(t, &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
			ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			ack.ReturnCode = code
			c.Send(ack)
			c.Fail(&broker.Reason{Code: broker.NotAuthorized, Text: "said already"})
		}}, nil)
		c := dial(t, addr)
		c.write(connect5)
		c.reads([]byte{0x20, 3, 0, reason, 0})
		c.closed()
	}
}

func TestMQTT5EndsWithAReason(t *testing.T) {
	long := func(payload int) []byte {
		var b bytes.Buffer
		(&packets5.Publish{Topic: "a", Payload: make([]byte, payload)}).WriteTo(&b)
		return b.Bytes()
	}
	for name, test := range map[string]struct {
		sent   []byte
		reason byte
	}{
		"a PUBLISH of QoS 2":                    {[]byte{0x34, 6, 0, 1, 'a', 0, 1, 0}, 0x9b},
		"a PUBLISH of QoS 3":                    {[]byte{0x36, 6, 0, 1, 'a', 0, 1, 0}, 0x81},
		"a PUBLISH to a wildcard":               {[]byte{0x30, 4, 0, 1, '#', 0}, 0x81},
		"a PUBLISH with packet id 0":            {[]byte{0x32, 6, 0, 1, 'a', 0, 0, 0}, 0x81},
		"a PUBLISH cut before its properties":   {[]byte{0x30, 3, 0, 1, 'a'}, 0x81},
		"properties longer than their packet":   {[]byte{0x30, 5, 0, 1, 'a', 2, 1}, 0x81},
		"a length of properties of five bytes":  {[]byte{0x30, 8, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0x7f}, 0x81},
		"a length that is longer than it needs": {[]byte{0x30, 5, 0, 1, 'a', 0x80, 0x00}, 0x81},
		"a content type that is not UTF-8":      {[]byte{0x30, 8, 0, 1, 'a', 4, 3, 0, 1, 0xff}, 0x81},
		"a payload format that does not exist":  {[]byte{0x30, 6, 0, 1, 'a', 2, 1, 2}, 0x81},
		"a property of a CONNECT":               {[]byte{0x30, 7, 0, 1, 'a', 3, 0x21, 0, 1}, 0x81},
		"a property that does not exist":        {[]byte{0x30, 8, 0, 1, 'a', 4, 0x7f, 0, 1, 'x'}, 0x81},
		"a PUBLISH without a topic":             {[]byte{0x30, 3, 0, 0, 0}, 0x82},
		"a topic alias of 0":                    {[]byte{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 0}, 0x94},
		"a topic alias of 9":                    {[]byte{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 9}, 0x94},
		"a topic alias that was never set":      {[]byte{0x30, 6, 0, 0, 3, 0x23, 0, 1}, 0x82},
		"a response topic with a wildcard":      {[]byte{0x30, 8, 0, 1, 'a', 4, 8, 0, 1, '#'}, 0x82},
		"a PUBLISH with a subscription id":      {[]byte{0x30, 6, 0, 1, 'a', 2, 0x0b, 1}, 0x82},
		"a payload of 128 KB and a byte":        {long(128<<10 + 1), 0x97},
		"a packet of 146 KB and a byte":         {[]byte{0x30, 0xfd, 0x8f, 0x09}, 0x95},
		"a SUBSCRIBE with a subscription id":    {[]byte{0x82, 9, 0, 1, 2, 0x0b, 1, 0, 1, 'a', 0}, 0xa1},
		"a SUBSCRIBE of QoS 3":                  {[]byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 3}, 0x81},
		"a retain handling of 3":                {[]byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x30}, 0x81},
		"a reserved subscription option":        {[]byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x40}, 0x81},
		"a SUBSCRIBE without filters":           {[]byte{0x82, 3, 0, 1, 0}, 0x81},
		"a SUBSCRIBE cut before its options":    {[]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}, 0x81},
		"an UNSUBSCRIBE cut short":              {[]byte{0xa2, 6, 0, 1, 0, 0, 2, 'a'}, 0x81},
		"an UNSUBSCRIBE without filters":        {[]byte{0xa2, 3, 0, 1, 0}, 0x81},
		"an UNSUBSCRIBE with wrong flags":       {[]byte{0xa0, 6, 0, 1, 0, 0, 1, 'a'}, 0x81},
		"a PINGREQ with a body":                 {[]byte{0xc0, 1, 0}, 0x81},
		"a PUBACK of one byte":                  {[]byte{0x40, 1, 0}, 0x81},
		"a packet that only servers send":       {[]byte{0x20, 3, 0, 0, 0}, 0x81},
		"a packet of QoS 2's handshake":         {[]byte{0x62, 2, 0, 1}, 0x81},
		"an AUTH":                               {[]byte{0xf0, 0}, 0x81},
		"a second CONNECT":                      {connect5, 0x82},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, &permissive{}, nil)
			c := connected5(t, addr, "device")
			c.write(test.sent)
			c.reads([]byte{0xe0, 2, test.reason, 0})
			c.closed()
		})
	}
}

func TestMQTT5PropertiesReachTheReceivers(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	old := connected(t, addr, "old")
	old.subscribe("a", 1)
	receiver := connected5(t, addr, "receiver")
	receiver.subscribe5(packets5.SubOptions{Topic: "a"})
	sender := connected5(t, addr, "sender")

	text, expiry := byte(1), uint32(1_000_000)
	properties := packets5.Properties{
		PayloadFormat: &text, ContentType: "application/json", ResponseTopic: "answers", CorrelationData: []byte{0, 1},
		MessageExpiry: &expiry, User: []packets5.User{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}},
	}
	sender.send5(&packets5.Publish{Topic: "a", QoS: 1, PacketID: 1, Payload: []byte("{}"), Properties: &properties})
	expect5[*packets5.Puback](sender)

	got := expect5[*packets5.Publish](receiver)
	week := uint32(604800)
	properties.MessageExpiry = &week
	assert.Equal(t, &packets5.Publish{Topic: "a", Payload: []byte("{}"), Properties: &properties}, got)
	assert.Equal(t, "{}", string(expect[*packets.PublishPacket](old).Payload))

	none := uint32(0)
	sender.send5(&packets5.Publish{Topic: "a", Properties: &packets5.Properties{MessageExpiry: &none}})
	assert.Equal(t, uint32(1), *expect5[*packets5.Publish](receiver).Properties.MessageExpiry)
	expect[*packets.PublishPacket](old)

	old.send(publishPacket("a", "[]", 0))
	assert.Equal(t, &packets5.Publish{Topic: "a", Payload: []byte("[]"), Properties: &packets5.Properties{}},
		expect5[*packets5.Publish](receiver))
}

func TestMQTT5TopicAlias(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	c := connected5(t, addr, "device")
	c.subscribe5(packets5.SubOptions{Topic: "#"})
	for _, step := range []struct{ sent, want string }{
		{"\x30\x07\x00\x01a\x03\x23\x00\x08", "a"},
		{"\x30\x06\x00\x00\x03\x23\x00\x08", "a"},
		{"\x30\x07\x00\x01b\x03\x23\x00\x08", "b"},
		{"\x30\x06\x00\x00\x03\x23\x00\x08", "b"},
	} {
		c.write([]byte(step.sent))
		got := expect5[*packets5.Publish](c)
		assert.Equal(t, step.want, got.Topic)
		assert.Nil(t, got.Properties.TopicAlias)
	}
}

func TestMQTT5SubscriptionOptions(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	sender := connected5(t, addr, "sender")
	sender.subscribe5(packets5.SubOptions{Topic: "a", NoLocal: true})
	as := connected5(t, addr, "as published")
	as.subscribe5(packets5.SubOptions{Topic: "a", RetainAsPublished: true})
	other := connected5(t, addr, "other")
	other.subscribe5(packets5.SubOptions{Topic: "a"})

	sender.send5(&packets5.Publish{Topic: "a", Retain: true})
	assert.True(t, expect5[*packets5.Publish](as).Retain)
	assert.False(t, expect5[*packets5.Publish](other).Retain)
	sender.ping()
	other.send5(&packets5.Publish{Topic: "a"})
	expect5[*packets5.Publish](sender)

	// A new subscription takes the place of the old one, with its options.
	sender.subscribe5(packets5.SubOptions{Topic: "a"})
	sender.send5(&packets5.Publish{Topic: "a"})
	expect5[*packets5.Publish](sender)
}

func TestMQTT5ClientsMaximumPacketSize(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	c := dial(t, addr)
	c.write([]byte("\x10\x18\x00\x04MQTT\x05\x02\x00\x3c\x05\x27\x00\x00\x00\x20\x00\x06device"))
	c.reads(connack5)
	c.subscribe5(packets5.SubOptions{Topic: "a"})
	for _, extra := range []int{0, 1} {
		c.send5(&packets5.Publish{Topic: "a", Payload: []byte(strings.Repeat("x", 26+extra))})
	}
	assert.Len(t, expect5[*packets5.Publish](c).Payload, 26, "32 bytes in all")
	c.ping()
}

func TestMQTT5TakeoverIsAnnounced(t *testing.T) {
	_, addr := start(t, &permissive{}, nil)
	first := connected5(t, addr, "device")
	connected(t, addr, "device")
	first.reads([]byte{0xe0, 2, 0x8e, 0})
	first.closed()
}

func TestMQTT5KeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := fleetprovtest.NewPipeListener()
		server := serve(t, &permissive{}, nil, listener)
		defer server.Close()
		c := newClient(t, connectPipe(t, listener))
		c.conn.SetDeadline(time.Time{})
		c.write(connect5)
		c.reads(connack5)
		start := time.Now()
		c.reads([]byte{0xe0, 2, 0x8d, 0})
		assert.Equal(t, 90*time.Second, time.Since(start))
		c.closed()
	})
}

func TestFail(t *testing.T) {
	for _, test := range []struct {
		name          string
		connect, want []byte
		accepted      bool
	}{
		{"a client of MQTT 5 is told in a DISCONNECT", connect5, append(bytes.Clone(connack5), 0xe0, 2, 0x87, 0), true},
		{"a client of MQTT 5 is told in the CONNACK that it waits for", connect5, []byte{0x20, 3, 0, 0x87, 0}, false},
		{"a client of MQTT 3.1.1 is told nothing", frame(connectPacket("device")), []byte{0x20, 2, 0, 0}, true},
		{"a client of MQTT 3.1.1 gets no CONNACK", frame(connectPacket("device")), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ended := make(chan error, 1)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			denied := &broker.Reason{Code: broker.NotAuthorized, Text: "denied"}
			server := &broker.Server{
				Closed: func(_ *broker.Conn, reason error) { ended <- reason },
				Handler: &permissive{connect: func(c *broker.Conn, p *packets.ConnectPacket) {
					if test.accepted {
						accept(c, p)
					}
					c.Fail(denied)
				}},
			}
			defer server.Close()
			go server.Serve(listener)
			c := dial(t, listener.Addr().String())
			c.write(test.connect)
			c.reads(test.want)
			c.closed()
			c.conn.Close()
			assert.Equal(t, denied, provtest.Wait(t, ended))
		})
	}
}
