package fleetprovtest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func readExample(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "examples", "aws", name))
	require.NoError(t, err)
	return string(content)
}

// The files that a user uploads to an AWS account work here unchanged.
func TestExamplesForAWS(t *testing.T) {
	const fact = "provision-wo-cert, provision-template: what the example files say is what AWS does with them"
	var hooked []hookRequest
	claimPolicy := readExample(t, "claim-policy.json")
	templates := withTemplates("fleet-template", readExample(t, "provisioning-template.json"),
		"fleet-rotation-template", readExample(t, "rotation-template.json"))
	policies := map[string]string{
		"fleet-device-policy":   readExample(t, "device-policy.json"),
		"fleet-rotation-policy": readExample(t, "rotation-policy.json"),
	}
	setup := func(s *fleetprovtest.Server) {
		hooked = nil
		s.ClaimPolicy = claimPolicy
		templates(s)
		for name, document := range policies {
			if err := s.AddPolicy(name, document); err != nil {
				panic(err)
			}
		}
		// rotation_hook.py
		s.Hook = func(r hookRequest) hookResponse {
			hooked = append(hooked, r)
			own := func(t fleetprovtest.Thing) bool {
				return t.Name == r.Parameters["ThingName"] && slices.Contains(t.CertificateIDs, r.ClaimCertificateID)
			}
			rotates := strings.HasSuffix(r.TemplateARN, "/fleet-rotation-template")
			return hookResponse{AllowProvisioning: !rotates || slices.ContainsFunc(s.Things(), own)}
		}
	}
	walk(t, []behaviour{
		{
			name:  "a device is provisioned with the template and uses the topics of its thing",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				assert.JSONEq(d, `{"thingName":"device-1234","deviceConfiguration":{"telemetryIntervalSeconds":"60"}}`,
					d.registers("fleet-template", `{"SerialNumber":"1234"}`))
				assert.Equal(d, map[string]string{"serialNumber": "1234"}, d.server.Things()[0].Attributes)

				_, certificate := d.enrol("fleet-template", `{"SerialNumber":"5678"}`)
				d.notAuthorized(certificate, "device-1234")
				d.notAuthorized(certificate, "5678")
				c := d.connect(certificate, "device-5678")
				c.subscribe("devices/device-5678/#")
				c.publish("devices/device-5678/telemetry", "21")
				assert.Equal(d, "21", string(c.message().Payload))
				c.sendPublish(2, "devices/device-1234/telemetry", "21")
				c.closedAfter(0)
				c = d.connect(certificate, "device-5678")
				c.sendSubscribe(1, 1, "devices/device-1234/#")
				c.closedAfter(0)
			},
		},
		{
			name:  "the claim may use no other template",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				c := d.claim("fleetprov-1")
				c.sendPublish(2, templateTopic("fleet-rotation-template"), `{}`)
				c.closedAfter(0)
			},
		},
		{
			name:  "a device renews its certificate, keeps its attributes, and can be left with the new one",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				first, certificate := d.enrol("fleet-template", `{"SerialNumber":"1234"}`)
				c := d.connect(certificate, "device-1234")
				second, renewed := c.createFromCSR()
				answer := c.register("fleet-rotation-template", second.CertificateOwnershipToken, `{"ThingName":"device-1234"}`)
				assert.JSONEq(d, `{"thingName":"device-1234"}`, string(answer.Payload))
				assert.Equal(d, first.CertificateID, hooked[1].ClaimCertificateID)
				thing := d.server.Things()[0]
				assert.Equal(d, []string{first.CertificateID, second.CertificateID}, thing.CertificateIDs)
				assert.Equal(d, map[string]string{"serialNumber": "1234"}, thing.Attributes)

				require.NoError(d, d.server.UpdateCertificate(first.CertificateID, "INACTIVE"))
				c.closedAfter(0)
				d.refused(certificate)
				again := d.connect(renewed, "device-1234")
				again.publish("devices/device-1234/telemetry", "21")
				third, _ := again.createFromCSR() // and it can renew again
				answer = again.register("fleet-rotation-template", third.CertificateOwnershipToken, `{"ThingName":"device-1234"}`)
				assert.JSONEq(d, `{"thingName":"device-1234"}`, string(answer.Payload))
			},
		},
		{
			name:  "the rotation hook keeps a device from another's thing",
			fact:  fact,
			setup: setup,
			steps: func(d *desk) {
				d.registers("fleet-template", `{"SerialNumber":"5678"}`)
				_, certificate := d.enrol("fleet-template", `{"SerialNumber":"1234"}`)
				c := d.connect(certificate, "device-1234")
				issued, _ := c.createFromCSR()
				rejects(d.T, c.register("fleet-rotation-template", issued.CertificateOwnershipToken, `{"ThingName":"device-5678"}`), 403, "AccessDenied")
			},
		},
	})
}
