package fleetprovtest_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

type (
	hookRequest  = fleetprovtest.HookRequest
	hookResponse = fleetprovtest.HookResponse
)

// asked returns a client whose RegisterThing was acknowledged but not answered yet, and
// the token.
func (d *desk) asked(clientID, parameters string) (c *client, token string) {
	d.Helper()
	c = d.claim(clientID)
	issued, _ := c.createFromCSR()
	c.subscribe(registerTopic+"/accepted", registerTopic+"/rejected")
	c.publish(registerTopic, `{"certificateOwnershipToken":"`+issued.CertificateOwnershipToken+`","parameters":`+parameters+`}`)
	return c, issued.CertificateOwnershipToken
}

func TestHook(t *testing.T) {
	allows := hookResponse{AllowProvisioning: true}
	withHook := func(hook func(hookRequest) hookResponse) func(*fleetprovtest.Server) {
		return func(s *fleetprovtest.Server) { s.Hook = hook }
	}
	refuses := func(name, fact string, after time.Duration, hook func(hookRequest) hookResponse) behaviour {
		return behaviour{name: name, fact: fact, setup: withHook(hook), steps: func(d *desk) {
			c, _ := d.asked("device-1", `{}`)
			start := time.Now()
			rejects(d.T, c.message(), 403, "AccessDenied")
			assert.Equal(d, after, time.Since(start))
			c.silent(patience)
			assert.Empty(d, d.server.Things())
			assert.Equal(d, "PENDING_ACTIVATION", d.server.Certificates()[0].Status)
		}}
	}

	var calls []hookRequest // of the row that runs
	records := func(response hookResponse) func(*fleetprovtest.Server) {
		return func(s *fleetprovtest.Server) {
			calls = nil
			s.Parameters = []string{"SerialNumber"}
			s.Hook = func(r hookRequest) hookResponse {
				calls = append(calls, r)
				return response
			}
		}
	}

	walk(t, []behaviour{
		{
			name:  "the hook is told what AWS tells it",
			fact:  "pre-provisioning-hook: the input has claimCertificateId, certificateId, certificatePem, templateArn, clientId and parameters",
			setup: records(allows),
			steps: func(d *desk) {
				c := d.claim("device-1")
				issued, _ := c.createFromCSR()
				c.register("test-template", issued.CertificateOwnershipToken, `{"SerialNumber":"SN-1","Site":"Basel"}`)
				assert.Equal(d, []hookRequest{{
					ClaimCertificateID: sha256Hex(d.server.ClaimCertificate().Leaf.Raw),
					CertificateID:      issued.CertificateID,
					CertificatePEM:     issued.CertificatePEM,
					TemplateARN:        "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/test-template",
					ClientID:           "device-1",
					Parameters:         map[string]string{"SerialNumber": "SN-1", "Site": "Basel"},
				}}, calls)
			},
		},
		{
			name:  "the hook is called for each RegisterThing, before the parameters are checked",
			fact:  "pre-provisioning-hook: the hook runs when a device registers, and may supply parameters",
			setup: records(hookResponse{AllowProvisioning: true, ParameterOverrides: map[string]string{"SerialNumber": "SN-2"}}),
			steps: func(d *desk) {
				c, token := d.asked("device-1", `{}`)
				assert.JSONEq(d, `{"thingName":"SN-2"}`, string(c.message().Payload))
				assert.JSONEq(d, `{"thingName":"SN-2"}`, string(c.register("test-template", token, `{}`).Payload))
				assert.Len(d, calls, 2)
			},
		},
		{
			name:  "the hook is not called for a token that is not good",
			fact:  "pre-provisioning-hook: the input has the certificate, which only the token tells",
			setup: records(allows),
			steps: func(d *desk) {
				rejects(d.T, d.claim("device-1").register("test-template", "unknown", `{"SerialNumber":"SN-1"}`), 400, "InvalidCertificateOwnershipToken")
				assert.Empty(d, calls)
			},
		},
		{
			name: "the hook's overrides are merged into the parameters",
			fact: "pre-provisioning-hook: parameterOverrides are merged with the parameters of the device",
			setup: withHook(func(r hookRequest) hookResponse {
				r.Parameters["Injected"] = "by writing to the request, which is a copy"
				return hookResponse{AllowProvisioning: true, ParameterOverrides: map[string]string{"Site": "Bern", "Line": "2"}}
			}),
			steps: func(d *desk) {
				d.enrol("test-template", `{"SerialNumber":"SN-1","Site":"Basel"}`)
				assert.Equal(d, map[string]string{"SerialNumber": "SN-1", "Site": "Bern", "Line": "2"}, d.server.Things()[0].Parameters)
			},
		},
		refuses("a hook that denies is a 403", "pre-provisioning-hook: with allowProvisioning false the device is refused; fleet-provision-api: statusCode 403", 0,
			func(hookRequest) hookResponse {
				return hookResponse{ParameterOverrides: map[string]string{"ThingName": "a"}}
			}),
		refuses("a hook that takes longer than five seconds is a 403", "pre-provisioning-hook: the function has to answer in 5 seconds", 5*time.Second,
			func(hookRequest) hookResponse { <-time.After(5100 * time.Millisecond); return allows }),
		refuses("a hook that panics is a 403", "pre-provisioning-hook: a function that fails refuses the device, as one that denies", 0,
			func(hookRequest) hookResponse { panic("out of order") }),
		refuses("a hook whose goroutine exits is a 403", "pre-provisioning-hook: a function that fails refuses the device, as one that denies", 0,
			func(hookRequest) hookResponse { runtime.Goexit(); return allows }),
		{
			name:  "a hook may take almost five seconds, and holds up nobody else",
			fact:  "pre-provisioning-hook: the function has to answer in 5 seconds",
			setup: withHook(func(hookRequest) hookResponse { <-time.After(4900 * time.Millisecond); return allows }),
			steps: func(d *desk) {
				start := time.Now()
				first, _ := d.asked("device-1", `{"ThingName":"a"}`)
				second, _ := d.asked("device-2", `{"ThingName":"b"}`)
				assert.Zero(d, time.Since(start))
				assert.JSONEq(d, `{"thingName":"a"}`, string(first.message().Payload))
				assert.JSONEq(d, `{"thingName":"b"}`, string(second.message().Payload))
				assert.Equal(d, 4900*time.Millisecond, time.Since(start))
			},
		},
		{
			name:  "a client that is taken over while the hook runs is dropped at once, and registered all the same",
			fact:  "mqtt: a client id is connected once, and the newer connection stays; provision-wo-cert: the hook is called when AWS has the request",
			setup: withHook(func(hookRequest) hookResponse { <-time.After(time.Second); return allows }),
			steps: func(d *desk) {
				c, token := d.asked("device-1", `{"ThingName":"a"}`)
				second := d.claim("device-1")
				c.closedAfter(0)
				assert.Empty(d, d.server.Things())
				d.pass(2 * time.Second)
				assert.Len(d, d.server.Things(), 1)
				require.Equal(d, registerTopic+"/accepted", second.register("test-template", token, `{}`).TopicName)
			},
		},
		{
			name:  "a client is heard while the hook runs",
			fact:  "mqtt: PINGREQ is answered with PINGRESP",
			setup: withHook(func(hookRequest) hookResponse { <-time.After(time.Second); return allows }),
			steps: func(d *desk) {
				start := time.Now()
				c, _ := d.asked("device-1", `{}`)
				c.ping()
				assert.Zero(d, time.Since(start))
				c.message()
				assert.Equal(d, time.Second, time.Since(start))
			},
		},
		{
			name: "a certificate that is deleted while the hook runs is not registered",
			fact: "API_DeleteCertificate: the certificate is no more",
			setup: func(s *fleetprovtest.Server) {
				s.Hook = func(r hookRequest) hookResponse {
					s.DeleteCertificate(r.CertificateID)
					return allows
				}
			},
			steps: func(d *desk) {
				c, _ := d.asked("device-1", `{}`)
				rejects(d.T, c.message(), 400, "InvalidCertificateOwnershipToken")
				assert.Empty(d, d.server.Things())
				assert.Empty(d, d.server.Certificates())
			},
		},
	})
}
