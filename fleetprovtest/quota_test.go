package fleetprovtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// withQuotas starts a server that throttles, inside a bubble.
func withQuotas(t *testing.T, quotas map[fleetprovtest.Op]fleetprovtest.Quota) (*fleetprovtest.Server, *fleetprovtest.PipeListener) {
	t.Helper()
	server, listener := onPipesUnstarted(t)
	server.Quotas = quotas
	server.Start()
	t.Cleanup(server.Close)
	return server, listener
}

const (
	throttledPayload = `{"statusCode":429,"errorCode":"TooManyRequests","errorMessage":"Rate exceeded"}`
	// badCSR passes the quota, and is refused afterwards.
	badCSR = `{}`
)

// mild answers 429 over a quota, so that a test can count on one connection.
func mild(q fleetprovtest.Quota) fleetprovtest.Quota {
	q.Answer = fleetprovtest.Answer429
	return q
}

// passing sends requests until one is throttled, and returns how many passed.
func (c *client) passing() int {
	c.t.Helper()
	for n := range 100 {
		if string(c.request(csrTopic, badCSR).Payload) == throttledPayload {
			return n
		}
	}
	require.FailNow(c.t, "nothing is throttled")
	return 0
}

func TestQuotaIsATokenBucket(t *testing.T) {
	for _, test := range []struct {
		name    string
		quota   fleetprovtest.Quota
		atFirst int
		wait    time.Duration
		then    int
	}{
		{"refills by the second", fleetprovtest.Quota{PerSecond: 10, Burst: 3}, 3, 205 * time.Millisecond, 2},
		{"refills a little at a time", fleetprovtest.Quota{PerSecond: 0.5, Burst: 3}, 3, 3 * time.Second, 1},
		{"is never more than full", fleetprovtest.Quota{PerSecond: 10, Burst: 3}, 3, time.Hour, 3},
		{"has not refilled yet", fleetprovtest.Quota{PerSecond: 10, Burst: 3}, 3, 95 * time.Millisecond, 0},
		{"holds a second's requests without a burst", fleetprovtest.Quota{PerSecond: 4}, 4, time.Hour, 4},
		{"holds one request without a burst at less than one a second", fleetprovtest.Quota{PerSecond: 0.1}, 1, 11 * time.Second, 1},
		{"never refills without a rate", fleetprovtest.Quota{Burst: 2}, 2, time.Hour, 0},
		{"lets nothing pass if it is zero", fleetprovtest.Quota{}, 0, time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := withQuotas(t, map[fleetprovtest.Op]fleetprovtest.Quota{
					fleetprovtest.OpCreateCertificateFromCSR: mild(test.quota),
				})
				c := dialPipe(t, server, listener, "device-1")
				c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
				assert.Equal(t, test.atFirst, c.passing())
				<-time.After(test.wait)
				late := dialPipe(t, server, listener, "device-2")
				late.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
				assert.Equal(t, test.then, late.passing(), "of another device, which shares it")
			})
		})
	}
}

func TestThrottledOperationHasNoEffect(t *testing.T) {
	for answer, payload := range map[fleetprovtest.QuotaAnswer]string{
		fleetprovtest.CloseConnection: "",
		fleetprovtest.Answer429:       throttledPayload,
		fleetprovtest.Answer400:       `{"statusCode":400,"errorCode":"ThrottlingException","errorMessage":"Rate exceeded"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			server, listener := withQuotas(t, map[fleetprovtest.Op]fleetprovtest.Quota{
				fleetprovtest.OpCreateKeysAndCertificate: {PerSecond: 1, Burst: 1, Answer: answer},
				fleetprovtest.OpRegisterThing:            {PerSecond: 1, Burst: 1, Answer: answer},
			})
			connect := func() *client {
				c := dialPipe(t, server, listener, "device-1")
				c.subscribe(flowFilters...)
				return c
			}
			c := connect()
			throttled := func(topic, request string) {
				t.Helper()
				c.publish(topic, request)
				if payload == "" {
					c.closed()
					c = connect()
					return
				}
				answer := c.message()
				assert.Equal(t, topic+"/rejected", answer.TopicName)
				assert.JSONEq(t, payload, string(answer.Payload))
			}

			keys := c.createKeys()
			throttled(createTopic, "")
			assert.Len(t, server.Certificates(), 1)

			c.request(registerTopic, `{"certificateOwnershipToken":"unknown"}`)
			request := `{"certificateOwnershipToken":"` + keys.CertificateOwnershipToken + `"}`
			throttled(registerTopic, request)
			assert.Empty(t, server.Things())
			assert.Equal(t, "PENDING_ACTIVATION", server.Certificates()[0].Status)

			<-time.After(time.Second)
			assert.Equal(t, registerTopic+"/accepted", c.request(registerTopic, request).TopicName)
			assert.Len(t, server.Things(), 1)
		})
	}
}

func TestAWSQuotas(t *testing.T) {
	// AWS general reference, AWS IoT Core endpoints and quotas.
	for op, perSecond := range map[fleetprovtest.Op]int{
		fleetprovtest.OpConnect:                  500,
		fleetprovtest.OpSubscribe:                500,
		fleetprovtest.OpCreateKeysAndCertificate: 10,
		fleetprovtest.OpCreateCertificateFromCSR: 20,
		fleetprovtest.OpRegisterThing:            10,
	} {
		assert.Equal(t, fleetprovtest.Quota{PerSecond: float64(perSecond)}, fleetprovtest.AWSQuotas()[op], op)
	}
	assert.Len(t, fleetprovtest.AWSQuotas(), 5)

	fleetprovtest.AWSQuotas()[fleetprovtest.OpConnect] = fleetprovtest.Quota{}
	assert.NotZero(t, fleetprovtest.AWSQuotas()[fleetprovtest.OpConnect], "each call returns a new map")
}

func TestQuotas(t *testing.T) {
	type quotas = map[fleetprovtest.Op]fleetprovtest.Quota
	const fact = "AWS IoT Core quotas: requests over the quota of the account are throttled; observed: by closing the connection"
	subscribed := func(d *desk, clientID string) *client {
		d.Helper()
		c := d.claim(clientID)
		c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
		return c
	}
	walk(t, []behaviour{
		{
			name:  "the account's quota is for all clients together",
			fact:  fact,
			setup: func(s *fleetprovtest.Server) { s.Quotas = fleetprovtest.AWSQuotas() },
			steps: func(d *desk) {
				first, second := subscribed(d, "device-1"), subscribed(d, "device-2")
				for range 10 {
					rejects(d.T, first.request(csrTopic, badCSR), 400, "InvalidCertificateSigningRequest")
					rejects(d.T, second.request(csrTopic, badCSR), 400, "InvalidCertificateSigningRequest")
				}
				first.publish(csrTopic, badCSR)
				first.closedAfter(0)
				d.pass(50 * time.Millisecond) // one of 20 in a second
				rejects(d.T, second.request(csrTopic, badCSR), 400, "InvalidCertificateSigningRequest")
				second.publish(csrTopic, badCSR)
				second.closedAfter(0)
			},
		},
		{
			name: "a client id's quota is its own",
			fact: "AWS IoT Core quotas: some are for a client id, such as one CONNECT a second",
			setup: func(s *fleetprovtest.Server) {
				s.ClientQuotas = quotas{fleetprovtest.OpCreateCertificateFromCSR: mild(fleetprovtest.Quota{PerSecond: 2})}
			},
			steps: func(d *desk) {
				first := subscribed(d, "device-1")
				assert.Equal(d, 2, first.passing())
				first = subscribed(d, "device-1")
				assert.Zero(d, first.passing(), "a new connection does not help")
				assert.Equal(d, 2, subscribed(d, "device-2").passing())
			},
		},
		{
			name: "a request over a client's quota does not count against the account's",
			fact: fact,
			setup: func(s *fleetprovtest.Server) {
				s.Quotas = quotas{fleetprovtest.OpCreateCertificateFromCSR: mild(fleetprovtest.Quota{Burst: 3})}
				s.ClientQuotas = quotas{fleetprovtest.OpCreateCertificateFromCSR: mild(fleetprovtest.Quota{Burst: 2})}
			},
			steps: func(d *desk) {
				assert.Equal(d, 2, subscribed(d, "device-1").passing())
				assert.Equal(d, 1, subscribed(d, "device-2").passing())
			},
		},
		{
			name: "a client that connects again too soon is closed without a CONNACK",
			fact: "AWS IoT Core quotas: a client id connects once a second; observed: once in ten",
			setup: func(s *fleetprovtest.Server) {
				s.ClientQuotas = quotas{fleetprovtest.OpConnect: {PerSecond: 0.1}}
			},
			steps: func(d *desk) {
				first := d.claim("device-1")
				again := d.handshake(d.server.ClaimCertificate())
				again.sendConnect("device-1")
				again.closedAfter(0)
				first.ping()
				d.claim("device-2").ping()
				d.pass(10 * time.Second)
				d.claim("device-1").ping()
			},
		},
		{
			name: "quotas refill by the clock that the test moves, too",
			fact: fact,
			setup: func(s *fleetprovtest.Server) {
				s.Quotas = quotas{fleetprovtest.OpCreateCertificateFromCSR: mild(fleetprovtest.Quota{PerSecond: 3})}
			},
			steps: func(d *desk) {
				c := subscribed(d, "device-1")
				assert.Equal(d, 3, c.passing())
				d.server.Advance(2 * time.Second)
				assert.Equal(d, 3, c.passing())
			},
		},
	})
}

func TestThrottledConnectAndSubscribeEndInAClosedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := withQuotas(t, map[fleetprovtest.Op]fleetprovtest.Quota{
			fleetprovtest.OpConnect:   {PerSecond: 2},
			fleetprovtest.OpSubscribe: {PerSecond: 1},
		})
		first := dialPipe(t, server, listener, "device-1")
		first.subscribe(csrTopic + "/rejected")
		second := dialPipe(t, server, listener, "device-2")
		second.sendSubscribe(1, 1, flowFilters...)
		second.closed()

		third, err := handshake(t, connectPipe(t, listener), clientConfig(server, server.ClaimCertificate()))
		require.NoError(t, err)
		third.sendConnect("device-1")
		third.closed()
		assert.Contains(t, string(first.request(csrTopic, badCSR).Payload), `"statusCode":400`, "a throttled client does not take over the connection")

		<-time.After(time.Second)
		dialPipe(t, server, listener, "device-3").subscribe(flowFilters...)
		assert.Len(t, server.Requests(), 4+3+1, "throttled requests are recorded")
	})
}

func TestThrottledRequestTakesNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := withQuotas(t, map[fleetprovtest.Op]fleetprovtest.Quota{
			fleetprovtest.OpCreateCertificateFromCSR: mild(fleetprovtest.Quota{PerSecond: 1}),
		})
		c := dialPipe(t, server, listener, "device-1")
		c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
		require.Equal(t, 1, c.passing())
		server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Disconnect: true})
		require.Zero(t, c.passing())
		<-time.After(time.Second)
		c.publish(csrTopic, badCSR)
		c.closed()
	})
}

func TestOperationWithoutAQuotaIsNotThrottled(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	defer closeServer(t, server)
	server.Quotas = map[fleetprovtest.Op]fleetprovtest.Quota{fleetprovtest.OpRegisterThing: {}}
	server.Start()
	c := connectClaim(t, server)
	c.subscribe(csrTopic + "/rejected")
	for range 50 {
		assert.Contains(t, string(c.request(csrTopic, badCSR).Payload), `"statusCode":400`)
	}
}
