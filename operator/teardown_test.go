package operator_test

import (
	"io"
	"net/http"
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
	assert.Equal(t, []string{"no thing pumps-device-1: it can register"}, plan.Present)
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
