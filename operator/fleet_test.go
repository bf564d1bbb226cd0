package operator_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/operator"
)

func TestFleetOfAnotherKind(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	model := "M1"
	f := operator.Fleet{
		Name:         "pumps",
		Names:        operator.Names{Template: "pump"},
		ThingName:    "pump:{SerialNumber}-a",
		Parameters:   map[string]*string{"Model": &model, "Site": nil},
		DevicePolicy: []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:REGION:ACCOUNT_ID:client/pump:*"}]}`),
		ClientID:     "factory-*",
		NoRenewal:    true,
	}
	s := setup(t, account, operator.Setup{Fleet: f, SerialNumbers: []string{"7"}})
	findings, err := account.Examine(deadline(t), operator.Examination{Fleet: f, Parameters: map[string]string{"SerialNumber": "7"}})
	require.NoError(t, err)
	assert.Empty(t, findings)
	policy, err := c.iot.GetPolicy(deadline(t), &iot.GetPolicyInput{PolicyName: aws.String("pumps-device-policy")})
	require.NoError(t, err)
	assert.Contains(t, *policy.PolicyDocument, "arn:aws:iot:eu-west-1:123456789012:client/pump:*")

	provision := func(client string, parameters map[string]string) (*fleetprov.Credentials, error) {
		p, err := fleetprov.New(c.server.Endpoint(), "pump", openClaim(t, s.ClaimFile), fleetprov.WithRootCAs(c.server.RootCAs()),
			fleetprov.WithLogger(nil), fleetprov.WithMaxAttempts(1), fleetprov.WithClientID(client), fleetprov.WithVerification())
		require.NoError(t, err)
		return p.Provision(deadline(t), parameters)
	}
	device, err := provision("factory-1", map[string]string{"SerialNumber": "7", "Site": "Bonn"})
	require.NoError(t, err)
	assert.Equal(t, "pump:7-a", device.ThingName)
	_, err = provision("factory-1", map[string]string{"SerialNumber": "7", "Site": "Bonn"})
	assertForbidden(t, err) // the hook knows the thing's name
	_, err = provision("fleetprov-1", map[string]string{"SerialNumber": "7", "Site": "Bonn"})
	require.ErrorIs(t, err, fleetprov.ErrClosedOnConnect)

	plan, err := account.PlanRelease(deadline(t), f, "7")
	require.NoError(t, err)
	assert.Len(t, plan.Steps, 1)
	plan, err = account.PlanTeardown(deadline(t), s, false)
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(whats(plan), "\n"), "rotation")
	run(t, plan)
	assert.Empty(t, c.contents(t))
}

func TestBadFleets(t *testing.T) {
	account := newCloud(t, nil).open(t)
	for _, test := range []struct {
		name  string
		setup operator.Setup
		want  string
	}{
		{"a long name", operator.Setup{Fleet: operator.Fleet{Name: "a-fleet-of-nineteen"}}, `the fleet's name "a-fleet-of-nineteen" must be 1 to 18 letters, digits, _ and -`},
		{"a template's name", operator.Setup{Fleet: operator.Fleet{Names: operator.Names{Template: "a b"}}}, `"a b" cannot be the name of a template`},
		{"no serial number in the thing name", operator.Setup{Fleet: operator.Fleet{ThingName: "device"}}, `the thing name "device" must have {SerialNumber} in it once`},
		{"two in it", operator.Setup{Fleet: operator.Fleet{ThingName: "{SerialNumber}{SerialNumber}"}}, "in it once"},
		{"another parameter in it", operator.Setup{Fleet: operator.Fleet{ThingName: "{Model}-{SerialNumber}"}}, "and besides it letters, digits, :, _ and -"},
		{"SerialNumber again", operator.Setup{Fleet: operator.Fleet{Parameters: map[string]*string{"SerialNumber": nil}}}, "the parameter SerialNumber is there in any case"},
		{"a parameter's name", operator.Setup{Fleet: operator.Fleet{Parameters: map[string]*string{"a b": nil}}}, `the parameter "a b" must be`},
		{"a policy", operator.Setup{Fleet: operator.Fleet{DevicePolicy: []byte("{")}}, "the device policy is not JSON"},
		{"a client id", operator.Setup{Fleet: operator.Fleet{ClientID: `"`}}, `the client id "\"" must be`},
		{"a serial number", operator.Setup{SerialNumbers: []string{"a/b"}}, `the serial number "a/b" cannot be in the name of a thing`},
		{"a file", operator.Setup{ClaimFile: "claim.password"}, "claim.password cannot be the file of a claim: choose a name that ends in .pfx"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := account.PlanSetup(deadline(t), test.setup)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestFleetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(`{"name": "pumps", "names": {"template": "pump"}, "thingName": "pump-{SerialNumber}", "parameters": {"Model": "M1", "Site": null},
	        "devicePolicy": {"Version": "2012-10-17"}, "clientId": "x-*", "noClaim": true, "noRenewal": true}`)
	f, err := operator.LoadFleet(path)
	require.NoError(t, err)
	model := "M1"
	assert.Equal(t, operator.Fleet{
		Name: "pumps", Names: operator.Names{Template: "pump"}, ThingName: "pump-{SerialNumber}",
		Parameters: map[string]*string{"Model": &model, "Site": nil}, DevicePolicy: []byte(`{"Version": "2012-10-17"}`), ClientID: "x-*", NoClaim: true, NoRenewal: true,
	}, f)

	write(`{"nam": "pumps"}`)
	_, err = operator.LoadFleet(path)
	require.ErrorContains(t, err, `unknown field "nam"`)
	write(`{} {}`)
	_, err = operator.LoadFleet(path)
	require.ErrorContains(t, err, "there is more behind the object")
	_, err = operator.LoadFleet(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}
