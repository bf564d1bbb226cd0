package fleetprovtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// A bubble fails if a goroutine is left in it.
func TestCloseEndsEverything(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup func(*fleetprovtest.Server)
		steps func(*desk)
		after time.Duration // how long Close takes
	}{
		{name: "without a client", steps: func(*desk) {}},
		{name: "with a client that has sent nothing", steps: func(d *desk) {
			conn := connectPipe(d.T, d.listener)
			d.Cleanup(func() { conn.Close() })
		}},
		{name: "with a client in the handshake", steps: func(d *desk) {
			conn := connectPipe(d.T, d.listener)
			d.Cleanup(func() { conn.Close() })
			_, err := conn.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc")) // the beginning of a ClientHello
			require.NoError(d, err)
		}},
		{name: "with a client whose certificate was refused", steps: func(d *desk) {
			_, certificate := d.claim("device-1").createFromCSR()
			d.refused(certificate)
		}},
		{name: "with a client before its CONNECT", steps: func(d *desk) { d.handshake(d.server.ClaimCertificate()) }},
		{name: "with a client that waits for its CONNACK", steps: func(d *desk) {
			d.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: time.Hour})
			d.handshake(d.server.ClaimCertificate()).sendConnect("device-1")
		}},
		{name: "with a client that was refused but has not closed its end", setup: claimPolicy(publishes), steps: func(d *desk) {
			c := d.handshake(d.server.ClaimCertificate())
			c.sendConnect("device-1")
			c.closedAfter(0)
		}},
		{name: "with a client that was taken over", steps: func(d *desk) {
			d.claim("device-1")
			d.claim("device-1")
		}},
		{name: "with a client that waits for its SUBACK", steps: func(d *desk) {
			d.server.Inject(fleetprovtest.OpSubscribe, fleetprovtest.Fault{Delay: time.Hour})
			d.claim("device-1").sendSubscribe(1, 1, flowFilters...)
		}},
		{name: "with a client that waits for an answer", steps: func(d *desk) {
			d.server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Delay: time.Hour})
			d.asked("device-1", `{}`)
		}},
		{name: "with a client that waits for its subscription to take effect",
			setup: func(s *fleetprovtest.Server) { s.SubscriptionLag = time.Hour },
			steps: func(d *desk) {
				c := d.claim("device-1")
				c.subscribe(csrTopic + "/rejected")
				c.publish(csrTopic, badCSR)
			}},
		{name: "with a client whose key is being made", steps: func(d *desk) {
			c := d.claim("device-1")
			c.subscribe(flowFilters...)
			c.publish(createTopic, "")
		}},
		{name: "with a hook that runs, which it waits for",
			setup: func(s *fleetprovtest.Server) {
				s.Hook = func(hookRequest) hookResponse { <-time.After(3 * time.Second); return hookResponse{} }
			},
			steps: func(d *desk) { d.asked("device-1", `{}`) }, after: 3 * time.Second},
		{name: "with a hook that has run for too long, which it waits for",
			setup: func(s *fleetprovtest.Server) {
				s.Hook = func(hookRequest) hookResponse { <-time.After(7 * time.Second); return hookResponse{} }
			},
			steps: func(d *desk) {
				c, _ := d.asked("device-1", `{}`)
				rejects(d.T, c.message(), 403, "AccessDenied")
			}, after: 2 * time.Second},
		{name: "with a client that does not read", steps: func(d *desk) {
			c := d.claim("device-1")
			c.subscribe(csrTopic + "/rejected")
			for range 3 {
				c.sendPublish(2, csrTopic, badCSR)
			}
		}},
		{name: "with a client that does not notice that its connection was closed", steps: func(d *desk) {
			d.claim("device-1").sendPublish(2, "$SYS/uptime", "")
		}},
		{name: "with a client that has closed its end without DISCONNECT", steps: func(d *desk) {
			c := d.claim("device-1")
			c.conn.NetConn().Close()
		}},
		{name: "with a certificate that was deactivated", steps: func(d *desk) {
			issued, certificate := d.enrol("test-template", `{}`)
			d.connect(certificate, "device-1")
			require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
		}},
		{name: "with devices that send messages to each other", steps: func(d *desk) {
			listener, sender := d.device("listener"), d.device("sender")
			listener.subscribe("#")
			for range 10 {
				sender.publish("data", "")
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, test.setup)
				test.steps(d)
				d.settle()
				start := time.Now()
				d.server.Close()
				assert.Equal(t, test.after, time.Since(start))
			})
		})
	}
}
