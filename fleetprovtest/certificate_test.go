package fleetprovtest_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestStatusOfACertificate(t *testing.T) {
	status := func(d *desk) string {
		d.Helper()
		require.Len(d, d.server.Certificates(), 1)
		return d.server.Certificates()[0].Status
	}
	// closing tests something that ends the connections of a certificate.
	closing := func(d *desk, act func(id string) error) tls.Certificate {
		d.Helper()
		issued, certificate := d.enrol("test-template", `{"ThingName":"device-1"}`)
		first, second := d.connect(certificate, "device-1"), d.connect(certificate, "device-2")
		other := d.device("device-3")
		require.NoError(d, act(issued.CertificateID))
		first.closedAfter(0)
		second.closedAfter(0)
		d.refused(certificate)
		other.ping()
		return certificate
	}
	walk(t, []behaviour{
		{
			name: "a certificate is PENDING_ACTIVATION until it is registered, and cannot connect",
			fact: "provision-wo-cert: CreateKeysAndCertificate and CreateCertificateFromCsr issue a certificate that is PENDING_ACTIVATION, RegisterThing activates it",
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, certificate := c.createFromCSR()
				assert.Equal(d, "PENDING_ACTIVATION", status(d))
				d.refused(certificate)
				answer := c.register("test-template", issued.CertificateOwnershipToken, `{}`)
				require.Equal(d, registerTopic+"/accepted", answer.TopicName)
				assert.Equal(d, "ACTIVE", status(d))
				d.connect(certificate, "device-2").ping()
			},
		},
		{
			name: "a template may leave a certificate INACTIVE, and then it cannot connect until it is activated",
			fact: "provision-template: the Status of a certificate is ACTIVE or INACTIVE; transport-security: only an active one can connect",
			setup: withTemplates("cautious", `{"Resources":{
				"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"INACTIVE"}},
				"policy":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"fleet-device-policy"}}}}`),
			steps: func(d *desk) {
				issued, certificate := d.enrol("cautious", `{}`)
				assert.Equal(d, "INACTIVE", status(d))
				d.refused(certificate)
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "ACTIVE"))
				d.connect(certificate, "device-1").ping()
			},
		},
		{
			name: "a certificate that is deactivated is dropped at once, and can be activated again",
			fact: "API_UpdateCertificate: within minutes of becoming INACTIVE a certificate's connections are closed and no new ones are accepted",
			steps: func(d *desk) {
				var id string
				certificate := closing(d, func(of string) error {
					id = of
					return d.server.UpdateCertificate(id, "INACTIVE")
				})
				require.NoError(d, d.server.UpdateCertificate(id, "ACTIVE"))
				d.connect(certificate, "device-1").ping()
			},
		},
		{
			name: "a certificate that is revoked is dropped at once",
			fact: "API_UpdateCertificate: within minutes of becoming REVOKED a certificate's connections are closed and no new ones are accepted",
			steps: func(d *desk) {
				closing(d, func(id string) error { return d.server.UpdateCertificate(id, "REVOKED") })
				assert.Equal(d, "REVOKED", d.server.Certificates()[0].Status)
			},
		},
		{
			name: "a certificate that is deleted is dropped at once, and is detached from its thing",
			fact: "API_DeleteCertificate: the certificate is gone; transport-security: one that is not registered cannot connect",
			steps: func(d *desk) {
				closing(d, d.server.DeleteCertificate)
				assert.Len(d, d.server.Certificates(), 1, "that of device-3")
				assert.Equal(d, "device-1", d.server.Things()[0].Name)
				assert.Empty(d, d.server.Things()[0].CertificateIDs)
			},
		},
		{
			name: "a certificate that is deleted takes its token with it",
			fact: "API_DeleteCertificate: the certificate is gone",
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, _ := c.createFromCSR()
				require.NoError(d, d.server.DeleteCertificate(issued.CertificateID))
				rejects(d.T, c.register("test-template", issued.CertificateOwnershipToken, `{}`), 400, "InvalidCertificateOwnershipToken")
			},
		},
		{
			name: "a claim that is deactivated is dropped at once, and can be activated again",
			fact: "provision-wo-cert: a claim certificate that is misused is deactivated, and provisions nobody then",
			steps: func(d *desk) {
				c := d.claim("device-1")
				id := sha256Hex(d.server.ClaimCertificate().Leaf.Raw)
				for _, status := range []string{"INACTIVE", "REVOKED"} {
					require.NoError(d, d.server.UpdateCertificate(id, status))
					c.closedAfter(0)
					d.refused(d.server.ClaimCertificate())
					require.NoError(d, d.server.UpdateCertificate(id, "ACTIVE"))
					c = d.claim("device-1")
				}
			},
		},
		{
			name: "a certificate that is deactivated after the handshake cannot connect either",
			fact: "transport-security: only an active certificate can connect",
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{}`)
				c := d.handshake(certificate)
				d.settle()
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "INACTIVE"))
				c.sendConnect("device-1")
				c.closedAfter(0)
			},
		},
		{
			name: "a certificate that has expired is refused",
			fact: "x509-client-certs: AWS IoT issues certificates that are valid until the end of 2049, and refuses those that have expired",
			steps: func(d *desk) {
				issued, certificate := d.enrol("test-template", `{}`)
				assert.Equal(d, time.Date(2049, time.December, 31, 23, 59, 59, 0, time.UTC), certificate.Leaf.NotAfter)
				d.server.Advance(time.Until(certificate.Leaf.NotAfter))
				d.connect(certificate, "device-1")
				d.server.Advance(time.Second)
				d.refused(certificate)
				assert.Equal(d, issued.CertificateID, d.server.Certificates()[0].ID, "it is still there")
			},
		},
	})
}

func TestUnusedCertificateDisappears(t *testing.T) {
	const fact = "provision-wo-cert: the ownership token expires after an hour, and a certificate that is not activated by then is deleted"
	// expires lets time pass by either clock, up to a moment before the hour and
	// then beyond it.
	expires := func(pass func(d *desk, c *client, t time.Duration)) func(*desk) {
		return func(d *desk) {
			c := d.claim("device-1")
			_, certificate := c.createFromCSR()
			pass(d, c, 30*time.Minute)
			second, _ := c.createFromCSR()
			pass(d, c, 30*time.Minute-time.Second)
			assert.Len(d, d.server.Certificates(), 2)
			pass(d, c, time.Second)
			require.Len(d, d.server.Certificates(), 1)
			assert.Equal(d, second.CertificateID, d.server.Certificates()[0].ID)
			d.refused(certificate)
		}
	}
	walk(t, []behaviour{
		{
			name:  "by the time that passes",
			fact:  fact,
			steps: expires(func(_ *desk, c *client, t time.Duration) { c.stay(t) }),
		},
		{
			name:  "by the clock that the test moves",
			fact:  fact,
			steps: expires(func(d *desk, _ *client, t time.Duration) { d.server.Advance(t) }),
		},
		{
			name: "with its token",
			fact: fact,
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, _ := c.createFromCSR()
				d.server.Advance(time.Hour)
				rejects(d.T, c.register("test-template", issued.CertificateOwnershipToken, `{}`), 400, "InvalidCertificateOwnershipToken")
				assert.Empty(d, d.server.Things())
			},
		},
		{
			name: "but not if it was registered, although its token expires",
			fact: fact,
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, certificate := c.createFromCSR()
				d.server.Advance(time.Hour - time.Second)
				for range 2 { // the answer may have been lost
					answer := c.register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"a"}`)
					assert.JSONEq(d, `{"thingName":"a"}`, string(answer.Payload))
				}
				d.server.Advance(time.Second)
				rejects(d.T, c.register("test-template", issued.CertificateOwnershipToken, `{"ThingName":"a"}`), 400, "InvalidCertificateOwnershipToken")
				d.connect(certificate, "a").ping()
			},
		},
		{
			name: "from its thing, too, if a template has made the thing without activating the certificate",
			fact: fact + "; provision-template: it is the certificate resource that activates",
			setup: withTemplates("bare", `{"Parameters":{"ThingName":{"Type":"String"}},"Resources":{
				"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"ThingName"}}}}}`),
			steps: func(d *desk) {
				active, _ := d.enrol("test-template", `{"ThingName":"a"}`)
				pending, certificate := d.enrol("bare", `{"ThingName":"a"}`)
				assert.Equal(d, []string{active.CertificateID, pending.CertificateID}, d.server.Things()[0].CertificateIDs)
				assert.Equal(d, "PENDING_ACTIVATION", d.server.Certificates()[1].Status)
				d.server.Advance(time.Hour)
				assert.Equal(d, []string{active.CertificateID}, d.server.Things()[0].CertificateIDs)
				assert.Len(d, d.server.Certificates(), 1)
				d.refused(certificate)
			},
		},
		{
			name: "but not if somebody has activated it",
			fact: fact,
			steps: func(d *desk) {
				issued, _ := d.claim("device-1").createFromCSR()
				require.NoError(d, d.server.UpdateCertificate(issued.CertificateID, "ACTIVE"))
				d.server.Advance(2 * time.Hour)
				require.Len(d, d.server.Certificates(), 1)
				assert.Equal(d, "ACTIVE", d.server.Certificates()[0].Status)
			},
		},
	})
}

func TestUnknownCertificates(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	claim := sha256Hex(server.ClaimCertificate().Leaf.Raw)
	unknown := sha256Hex(nil)

	assert.Error(t, server.UpdateCertificate(unknown, "ACTIVE"))
	assert.Error(t, server.UpdateCertificate(claim, "PENDING_ACTIVATION"))
	assert.Error(t, server.UpdateCertificate(claim, "active"))
	assert.Error(t, server.DeleteCertificate(unknown))
	assert.Error(t, server.DeleteCertificate(claim), "the server has not issued the claim")
	connectClaim(t, server)
}

func TestClockCannotBeMovedBack(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	defer closeServer(t, server)
	assert.Panics(t, func() { server.Advance(-1) })
}

// atWarning is a log handler that does something while a warning is logged.
type atWarning struct {
	slog.Handler
	do func()
}

func (h atWarning) Enabled(context.Context, slog.Level) bool { return true }

func (h atWarning) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn && strings.Contains(r.Message, "policy") {
		h.do()
	}
	return nil
}

func (h atWarning) WithAttrs([]slog.Attr) slog.Handler { return h }

// The server looks up what a certificate may do, and logs a warning about a policy, just
// before it remembers the connection as one to drop.
func TestCertificateThatIsDeactivatedDuringConnectCannotConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *desk
		d = newDesk(t, func(s *fleetprovtest.Server) {
			withTemplates("fleet", typedTemplate("pump", "basel"))(s)
			s.Logger = slog.New(atWarning{slog.DiscardHandler, func() {
				for _, c := range d.server.Certificates() {
					assert.NoError(t, d.server.UpdateCertificate(c.ID, "INACTIVE"))
				}
			}})
		})
		_, certificate := d.enrol("fleet", `{"ThingName":"a"}`)
		c := d.handshake(certificate)
		c.sendConnect("a")
		c.closedAfter(0)
	})
}
