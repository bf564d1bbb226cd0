package fleetprovtest_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// The log has the reasons that AWS IoT does not tell.
func TestLogSaysWhy(t *testing.T) {
	const fact = "observed: AWS IoT closes a connection without a word; its reasons are in CloudWatch at best"
	log := &logged{}
	says := func(name, reason string, setup func(*fleetprovtest.Server), act func(*desk)) behaviour {
		return behaviour{name: name, fact: fact, setup: func(s *fleetprovtest.Server) {
			log = &logged{}
			s.Logger = log.logger()
			if setup != nil {
				setup(s)
			}
		}, steps: func(d *desk) {
			act(d)
			d.settle()
			assert.Contains(d, log.String(), reason)
		}}
	}
	sends := func(act func(*client)) func(*desk) {
		return func(d *desk) { act(d.claim("device-1")) }
	}
	walk(t, []behaviour{
		says("a connection", "msg=connected client=device-1 certificate=", nil, sends(func(*client) {})),
		says("a DISCONNECT", "level=INFO msg=disconnected client=device-1\n", nil, sends(func(c *client) { c.writes("e0 00") })),
		says("a denied connect", "the policy denies iot:Connect", claimPolicy(publishes), func(d *desk) {
			d.notAuthorized(d.server.ClaimCertificate(), "device-1")
		}),
		says("an invalid client id", "client id", nil, func(d *desk) {
			d.handshake(d.server.ClaimCertificate()).sendConnect("$device")
		}),
		says("a denied publish", "the policy denies iot:Publish to \\\"telemetry\\\"", nil, sends(func(c *client) { c.sendPublish(2, "telemetry", "") })),
		says("a denied subscribe", "the policy denies iot:Subscribe to \\\"telemetry\\\"", nil, sends(func(c *client) { c.sendSubscribe(1, 1, "telemetry") })),
		says("a denied subscribe that is answered", "the policy denies iot:Subscribe",
			func(s *fleetprovtest.Server) { s.RefuseWithSUBACK = true }, sends(func(c *client) { c.sendSubscribe(1, 1, "telemetry") })),
		says("a message that may not be received", "the policy denies iot:Receive", claimPolicy(connects, publishes, subscribes), sends(func(c *client) {
			c.subscribe(csrTopic + "/rejected")
			c.publish(csrTopic, badCSR)
		})),
		says("an answer that nobody has subscribed to", "topic="+csrTopic+"/rejected reason=\"the client has not subscribed to it\"",
			func(s *fleetprovtest.Server) { s.RequireSubscription = true }, sends(func(c *client) {
				c.subscribe(csrTopic + "/accepted")
				c.publish(csrTopic, badCSR)
			})),
		says("a topic that is too deep", "too long or too deep", nil, sends(func(c *client) { c.sendPublish(2, "a/b/c/d/e/f/g/h/i", "") })),
		says("a reserved topic", "reserved topic", nil, sends(func(c *client) { c.sendPublish(2, "$SYS/uptime", "") })),
		says("a retained request", "RETAIN", nil, sends(func(c *client) {
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.Retain = csrTopic, true
			c.send(p)
		})),
		says("a message at QoS 2", "QoS 2", nil, sends(func(c *client) {
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.Qos, p.MessageID = csrTopic, 2, 1
			c.send(p)
		})),
		says("nine filters", "more than 8 filters", nil, sends(func(c *client) {
			c.sendSubscribe(1, 1, "a", "b", "c", "d", "e", "f", "g", "h", "i")
		})),
		says("a takeover", "the same client id", nil, func(d *desk) { d.claim("device-1"); d.claim("device-1") }),
		says("a silent client", "silent", nil, func(d *desk) { d.claim("device-1"); d.pass(2 * time.Minute) }),
		says("an early packet", "CONNACK", nil, func(d *desk) {
			d.handshake(d.server.ClaimCertificate()).writes("10 14 00 04 4d 51 54 54 04 02 00 3c 00 08 64 65 76 69 63 65 2d 31 c0 00")
		}),
		says("a deactivated certificate", "its certificate has become INACTIVE", nil, func(d *desk) {
			d.claim("device-1")
			require.NoError(d, d.server.UpdateCertificate(sha256Hex(d.server.ClaimCertificate().Leaf.Raw), "INACTIVE"))
		}),
		says("a certificate that is not active", "the certificate is PENDING_ACTIVATION", nil, func(d *desk) {
			_, certificate := d.claim("device-1").createFromCSR()
			d.refused(certificate)
		}),
		says("no name of a host", "SNI", nil, func(d *desk) {
			config := clientConfig(d.server, d.server.ClaimCertificate())
			config.ServerName, config.InsecureSkipVerify = "", true
			_, err := handshake(d.T, connectPipe(d.T, d.listener), config)
			assert.Error(d, err)
		}),
		says("no protocol", "ALPN", func(s *fleetprovtest.Server) { s.RequireALPN = true }, func(d *desk) {
			_, err := handshake(d.T, connectPipe(d.T, d.listener), clientConfig(d.server, d.server.ClaimCertificate()))
			assert.Error(d, err)
		}),
		says("a hook that refuses", "it refused", func(s *fleetprovtest.Server) {
			s.Hook = func(hookRequest) hookResponse { return hookResponse{} }
		}, func(d *desk) { d.asked("device-1", `{}`) }),
		says("a hook that panics", "out of order", func(s *fleetprovtest.Server) {
			s.Hook = func(hookRequest) hookResponse { panic("out of order") }
		}, func(d *desk) { d.asked("device-1", `{}`) }),
		says("a rejection", "RegisterThing rejected", nil, func(d *desk) {
			d.claim("device-1").register("test-template", "unknown", `{}`)
		}),
		says("a throttled request", "status=429", func(s *fleetprovtest.Server) {
			s.Quotas = map[fleetprovtest.Op]fleetprovtest.Quota{fleetprovtest.OpCreateCertificateFromCSR: {Answer: fleetprovtest.Answer429}}
		}, sends(func(c *client) { c.publish(csrTopic, badCSR) })),
		says("a throttled connect", "level=WARN msg=disconnected client=device-1 reason=\"Rate exceeded\"", func(s *fleetprovtest.Server) {
			s.ClientQuotas = map[fleetprovtest.Op]fleetprovtest.Quota{fleetprovtest.OpConnect: {}}
		}, func(d *desk) { d.handshake(d.server.ClaimCertificate()).sendConnect("device-1") }),
		says("a throttled subscribe", "level=WARN msg=disconnected client=device-1 reason=\"Rate exceeded\"", func(s *fleetprovtest.Server) {
			s.Quotas = map[fleetprovtest.Op]fleetprovtest.Quota{fleetprovtest.OpSubscribe: {}}
		}, sends(func(c *client) { c.sendSubscribe(1, 1, flowFilters...) })),
		says("a fault that ends the connection", "reason=\"a fault ends the connection\"", nil, func(d *desk) {
			d.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
			d.handshake(d.server.ClaimCertificate()).sendConnect("device-1")
		}),
		says("a fault", `fault="another answer"`, nil, func(d *desk) {
			d.server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Response: []byte("{}")})
			d.claim("device-1").publish(csrTopic, badCSR)
		}),
	})
}

// Nothing is logged that a reader need not know.
func TestLogIsNotFlooded(t *testing.T) {
	const undelivered, instead = "not delivered", "a policy was not added, so DevicePolicy takes its place"
	log := &logged{}
	says := func(name, fact, message string, times int, setup func(*fleetprovtest.Server), act func(*desk)) behaviour {
		return behaviour{name: name, fact: fact, setup: func(s *fleetprovtest.Server) {
			log = &logged{}
			s.Logger = log.logger()
			setup(s)
		}, steps: func(d *desk) {
			act(d)
			d.settle()
			assert.Equal(d, times, strings.Count(log.String(), message), log)
		}}
	}
	const receive = "iot-policy-actions: iot:Receive is checked for each message that is to be delivered"
	heard := func(filter string) func(*desk) {
		return func(d *desk) {
			d.device("idle")
			listener, sender := d.device("listener"), d.device("sender")
			listener.subscribe(filter)
			sender.publish("data", "")
		}
	}
	const names = "provision-template: a template names policies that are there; the endpoint has DevicePolicy for the others"
	connected := func(d *desk) {
		_, certificate := d.enrol("fleet", `{"ThingName":"a"}`)
		assert.NotContains(d, log.String(), instead)
		d.connect(certificate, "a").publish("data", "")
	}
	walk(t, []behaviour{
		says("with a message that clients without a subscription do not get", receive, undelivered, 0,
			devicePolicy(connects, publishes, subscribes), heard("other")),
		says("but once with a message that a subscribed client may not receive", receive, undelivered, 1,
			devicePolicy(connects, publishes, subscribes), heard("#")),
		says("with an answer that was sent to a client that has not subscribed", "observed: AWS IoT does so", undelivered, 0,
			func(*fleetprovtest.Server) {},
			func(d *desk) { d.claim("device-1").request(csrTopic, badCSR) }),
		says("but once for each connection with a policy that was not added", names, "level=WARN msg=\""+instead+"\" policy=fleet-device-policy certificate=", 1,
			withTemplates("fleet", typedTemplate("pump", "basel")), connected),
		says("with a policy that was added", names, instead, 0,
			func(s *fleetprovtest.Server) {
				withTemplates("fleet", typedTemplate("pump", "basel"))(s)
				if err := s.AddPolicy("fleet-device-policy", policy(connects, publishes)); err != nil {
					panic(err)
				}
			}, connected),
		says("with DevicePolicy where no policy is named", names, instead, 0,
			func(*fleetprovtest.Server) {}, func(d *desk) { d.device("a").publish("data", "") }),
	})
}

// One run in which everything that can go wrong does.
func TestLogHoldsNoSecret(t *testing.T) {
	log := &logged{}
	server := fleetprovtest.NewUnstartedServer()
	server.Logger = log.logger()
	server.Parameters = []string{"SerialNumber"}
	server.Start()
	defer closeServer(t, server)

	c, err := dial(t, server, clientConfig(server, server.ClaimCertificate()))
	require.NoError(t, err)
	p := connectPacket("device-1")
	p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, "device", true, []byte("mqtt-p4ssword")
	c.send(p)
	expect[*packets.ConnackPacket](c)
	c.subscribe(flowFilters...)
	keys := c.createKeys()
	request := `{"certificateOwnershipToken":"` + keys.CertificateOwnershipToken + `","parameters":{"SerialNumber":"SN-1","Secret":"p4rameter"}}`
	for _, fault := range []fleetprovtest.Fault{
		{Reject: &fleetprovtest.Rejection{StatusCode: 429}},
		{Response: []byte(`{"certificateOwnershipToken":"` + keys.CertificateOwnershipToken + `"}`)},
		{},
	} {
		server.Inject(fleetprovtest.OpRegisterThing, fault)
		c.request(registerTopic, request)
	}
	c.request(registerTopic, `{"parameters":{},`+request)                                            // no JSON
	c.request(registerTopic, `{"certificateOwnershipToken":"`+keys.CertificateOwnershipToken+`"}`)   // a parameter is missing
	c.request(registerTopic, `{"certificateOwnershipToken":["`+keys.CertificateOwnershipToken+`"]}`) // no string
	c.sendPublish(2, "telemetry", keys.CertificateOwnershipToken)
	c.closed()
	connectAs(t, server, keys.certificate(t), "SN-1").publish("telemetry", keys.CertificateOwnershipToken)
	server.Close()

	claimKey, err := x509.MarshalPKCS8PrivateKey(server.ClaimCertificate().PrivateKey)
	require.NoError(t, err)
	claimPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: claimKey}))
	secrets := []string{keys.CertificateOwnershipToken, "mqtt-p4ssword", "p4rameter"}
	for _, key := range []string{*keys.PrivateKey, claimPEM} {
		secrets = append(secrets, strings.Split(strings.TrimSpace(key), "\n")...)
	}
	text := log.String()
	for _, operation := range []string{"CreateKeysAndCertificate accepted", "RegisterThing accepted", "RegisterThing rejected", "disconnected"} {
		assert.Contains(t, text, operation)
	}
	for _, secret := range secrets {
		assert.NotContains(t, text, secret)
	}
}
