package operator_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/operator"
)

// Two fleets share an account, and their things may even have names of one pattern.
func TestTeardownLeavesTheThingsOfOthersAlone(t *testing.T) {
	noPython(t)
	answers := map[string]string{
		"/things": `{"things":[
			{"thingName":"device-1","attributes":{"serialNumber":"1"}},
			{"thingName":"device-2","attributes":{"serialNumber":"2","fleet":"pumps"}},
			{"thingName":"device-3","attributes":{"serialNumber":"3"}}]}`,
		"/things/device-1/principals": `{"principals":[]}`,
		"/things/device-2/principals": `{"principals":[]}`,
		"/things/device-3/principals": `{"principals":["arn:aws:iot:eu-west-1:123456789012:cert/` + strings.Repeat("0", 64) + `"]}`,
	}
	c := newCloud(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answer, ok := answers[r.URL.Path]; ok && r.Method == http.MethodGet {
				_, _ = io.WriteString(w, answer)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	account := c.open(t)
	pumps := operator.Fleet{Name: "pumps", ThingName: "device-{SerialNumber}"}

	plan, err := account.PlanTeardown(deadline(t), operator.Setup{}, false)
	require.NoError(t, err)
	assert.Equal(t, []string{"remove thing device-1"}, whats(plan))
	plan, err = account.PlanTeardown(deadline(t), operator.Setup{Fleet: pumps}, false)
	require.NoError(t, err)
	assert.Equal(t, []string{"remove thing device-2"}, whats(plan))
}

func TestFleetsHaveThingNamesOfTheirOwn(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	setup(t, c.open(t), operator.Setup{Fleet: operator.Fleet{Name: "pumps"}})
	plan, err := c.open(t).PlanRelease(deadline(t), operator.Fleet{Name: "pumps"}, "1")
	require.NoError(t, err)
	assert.Equal(t, []string{"there is no thing pumps-device-1: its device can register"}, plan.Unneeded)
	found, err := c.iot.DescribeProvisioningTemplate(deadline(t), &iot.DescribeProvisioningTemplateInput{TemplateName: aws.String("pumps-template")})
	require.NoError(t, err)
	assert.Contains(t, *found.TemplateBody, `"pumps-device-"`)
	assert.Contains(t, *found.TemplateBody, `"fleet": "pumps"`)
}

func TestTeardownRefusesWhatSetupDoesNotMake(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{})
	b := breaker{t, deadline(t), c, account, c.claimID(t)}
	b.edit("fleet-device-policy", "client/", "client/x")
	b.trust("fleet-hook-role", "lambda.amazonaws.com", "ec2.amazonaws.com")
	_, err := account.PlanTeardown(deadline(t), s, false)
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[0], "the role fleet-hook-role is different from what setup makes")
	assert.Contains(t, lines[1], "the policy fleet-device-policy is different from what setup makes")

	s.Replace = true
	plan, err := account.PlanTeardown(deadline(t), s, false)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(whats(plan), "\n"), "remove role fleet-hook-role, which is different from what setup makes: ")
	run(t, plan)
	assert.Empty(t, c.contents(t))
}

// Whatever file a claim was to be in: what is left of it is found by the key beside that.
func TestTeardownFindsClaimsThatWereCutOff(t *testing.T) {
	noPython(t)
	c := newCutCloud(t, "the request is refused")
	c.setup(t, 0)
	pumps := operator.Fleet{Name: "pumps", ThingName: "device-{SerialNumber}"}
	directory := filepath.Dir(c.setting.ClaimFile)
	setup(t, c.account, operator.Setup{Fleet: pumps, ClaimFile: filepath.Join(directory, "pumps.pfx")})
	begin := func(f operator.Fleet, file string) {
		t.Helper()
		c.cutter.arm(3) // of GetPolicy, CreateCertificateFromCsr and AttachPolicy
		_, err := c.account.NewClaim(deadline(t), f, filepath.Join(directory, file), nil)
		c.cutter.arm(0)
		require.ErrorContains(t, err, "iot:AttachPolicy")
	}
	begin(operator.Fleet{}, "second.pfx")
	begin(pumps, "third.pfx")
	require.NoError(t, os.WriteFile(filepath.Join(directory, "other.pending"), []byte("something else"), 0o600))

	plan, err := c.account.PlanTeardown(deadline(t), c.setting, false)
	require.NoError(t, err)
	pending := filepath.Join(directory, "second.pending")
	assert.Contains(t, whats(plan), "remove claim of "+pending+", which is not complete")
	assert.NotContains(t, strings.Join(whats(plan), "\n"), "third")
	run(t, plan)
	assert.NoFileExists(t, pending)
	assert.FileExists(t, filepath.Join(directory, "third.pending"))
	assert.Equal(t, 1, strings.Count(strings.Join(c.iotContents(t), "\n"), "certificate INACTIVE"), "that of pumps")
	plan, err = c.account.PlanTeardown(deadline(t), c.setting, false)
	require.NoError(t, err)
	assert.Empty(t, whats(plan))
	plan, err = c.account.PlanTeardown(deadline(t), operator.Setup{Fleet: pumps, ClaimFile: filepath.Join(directory, "pumps.pfx")}, false)
	require.NoError(t, err)
	run(t, plan)
	assert.Empty(t, c.contents(t))
}
