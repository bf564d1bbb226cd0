package figures_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// firstMessages are the ways of a device from the dial of its claim to its first message,
// as rows of the table in docs/figures.md. Over TLS 1.2, each connection takes one round
// trip more.
var firstMessages = []struct {
	name        string
	opts        []fleetprov.Option
	trips       int // over TLS 1.3
	connections int
}{
	{"pipelined", []fleetprov.Option{fleetprov.WithPipelining()}, 5 + 3, 2},
	{"default", nil, 6 + 3, 2},
	{"pipelined-verified", []fleetprov.Option{fleetprov.WithPipelining(), fleetprov.WithVerification()}, 5 + 3 + 3, 3},
	{"verified", []fleetprov.Option{fleetprov.WithVerification()}, 6 + 3 + 3, 3},
}

// What a user waits for: a Manager provisions the device, and its first session proves
// the credentials with the connection that it needs anyhow. The message leaves as soon as
// CONNACK has come: TCP, TLS and CONNECT after the credentials. A verification connects
// under the thing name, so that the session waits for ten seconds after it.
func TestRoundTripsToTheFirstMessage(t *testing.T) {
	for _, way := range firstMessages {
		for _, flow := range [][]fleetprov.Option{nil, {fleetprov.WithGeneratedKey()}} {
			for version, more := range map[uint16]int{tls.VersionTLS13: 0, tls.VersionTLS12: way.connections} {
				name := way.name + " over " + tls.VersionName(version)
				if flow != nil {
					name += ", CSR"
				}
				t.Run(name, func(t *testing.T) {
					trips, paused := toFirstMessage(t, &tls.Config{MaxVersion: version}, slices.Concat(way.opts, flow)...)
					assert.Equal(t, way.trips+more, trips)
					assert.Equal(t, way.connections == 3, paused == 10*time.Second, "%v", paused)
				})
			}
		}
	}
}

// BenchmarkFirstMessage reports how many round trips lie between the dial of the claim
// and the first message as the device, and for how long the Manager waits in between.
func BenchmarkFirstMessage(b *testing.B) {
	for _, way := range firstMessages {
		b.Run(way.name, func(b *testing.B) {
			var trips int
			var paused time.Duration
			for b.Loop() {
				asTest(b, func(t *testing.T) { trips, paused = toFirstMessage(t, nil, way.opts...) })
			}
			b.ReportMetric(float64(trips), "roundtrips")
			b.ReportMetric(paused.Seconds(), "paused-s")
			b.ReportMetric(0, "ns/op") // time is virtual
		})
	}
}

// toFirstMessage lets a Manager live over a slow link until its session has sent a
// message. It returns how often something went there and back until the message left, and
// how long the Manager waited after the device had connected under its thing name.
func toFirstMessage(t *testing.T, config *tls.Config, opts ...fleetprov.Option) (trips int, paused time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t)
		dial := slowDialer(listener.Dial)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		began := time.Now()
		var connected time.Time // by a verification
		verified := func(_ context.Context, p fleetprov.Progress) {
			if p.Op == fleetprov.OpVerify && p.Done {
				connected = time.Now()
			}
		}
		manager := &fleetprov.Manager{
			Endpoint: server.Endpoint(),
			Template: provtest.Template,
			Claim:    func(context.Context) (*fleetprov.Identity, error) { return provtest.Claim(t, server), nil },
			Store:    provtest.NewMemStore(),
			Options: append(opts, fleetprov.WithDialer(dial), fleetprov.WithTLSConfig(config), fleetprov.WithProgress(verified),
				provtest.OneAttempt),
		}
		var took time.Duration
		err := manager.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
			defer end()
			if !connected.IsZero() {
				paused = time.Since(connected)
			}
			took = firstMessage(t, ctx, c, dial, config, began)
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		took -= paused
		require.Positive(t, took)
		require.Zero(t, took%(2*oneWay), "%v is no whole number of round trips", took)
		trips = int(took / (2 * oneWay))
		<-time.After(time.Minute) // the goodbyes travel, too
	})
	return trips, paused
}

// firstMessage connects as the device, publishes a message that the server acknowledges,
// and returns when the message left.
func firstMessage(t *testing.T, ctx context.Context, c *fleetprov.Credentials, dial dialer, config *tls.Config, began time.Time) (took time.Duration) {
	t.Helper()
	secure, err := c.TLSConfig()
	require.NoError(t, err)
	if config != nil {
		secure.MaxVersion = config.MaxVersion
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + c.Endpoint).
		SetClientID(c.ThingName).
		SetProtocolVersion(4).
		SetAutoReconnect(false).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			conn, err := dial(ctx, "tcp", c.Endpoint)
			if err != nil {
				return nil, err
			}
			session := tls.Client(conn, secure)
			return session, session.HandshakeContext(ctx)
		}))
	defer client.Disconnect(250)
	done := func(token mqtt.Token) {
		require.True(t, token.WaitTimeout(time.Minute))
		require.NoError(t, token.Error())
	}
	done(client.Connect())
	left := time.Now()
	done(client.Publish("devices/"+c.ThingName+"/telemetry", 1, false, "{}"))
	require.Equal(t, 2*oneWay, time.Since(left), "from the message to its PUBACK")
	return left.Sub(began)
}
