package operator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/operator"
)

// refuse answers every request after those that were let through.
func refuse(status int, code, message string, after int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		seen := 0
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if seen++; seen <= after {
				next.ServeHTTP(w, r)
				return
			}
			if r.Method == http.MethodPost && r.URL.Path == "/" { // IAM and STS
				w.WriteHeader(status)
				fmt.Fprintf(w, "<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message)
				return
			}
			w.Header().Set("x-amzn-ErrorType", code)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"message":%q}`, message)
		})
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Run("no credentials", func(t *testing.T) {
		for name, provider := range map[string]aws.CredentialsProvider{
			"none":   nil,
			"failed": aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no\nrole") }),
		} {
			_, err := operator.Open(deadline(t), aws.Config{Region: "eu-west-1", Credentials: provider})
			assertLine(t, err, "no AWS credentials were found: log in with the AWS CLI, or set AWS_PROFILE")
			_, err = operator.TrustedClaim(deadline(t), aws.Config{Region: "eu-west-1", Credentials: provider}, "fleet-template")
			assertLine(t, err, "no AWS credentials were found", name)
		}
	})
	t.Run("no region", func(t *testing.T) {
		_, err := operator.Open(deadline(t), aws.Config{})
		assertLine(t, err, "no AWS region is set: give -region, or set AWS_REGION")
	})
	t.Run("credentials that AWS does not know", func(t *testing.T) {
		c := newCloud(t, refuse(403, "InvalidClientTokenId", "The security token included in the request is invalid.", 0))
		_, err := operator.Open(deadline(t), c.config)
		assertLine(t, err, "sts:GetCallerIdentity: The security token included in the request is invalid (InvalidClientTokenId): AWS does not know your credentials: check AWS_PROFILE, or log in again")
	})
	t.Run("a session that has ended", func(t *testing.T) {
		c := newCloud(t, refuse(403, "ExpiredToken", "The security token included in the request is expired", 0))
		_, err := operator.Open(deadline(t), c.config)
		assertLine(t, err, "(ExpiredToken): your session has ended: log in again")
	})
	t.Run("no right", func(t *testing.T) {
		c := newCloud(t, refuse(403, "AccessDenied", "User: arn:aws:iam::123456789012:user/DevAdmin is not authorized to perform: iam:GetRole", 1))
		_, err := c.open(t).PlanSetup(deadline(t), operator.Setup{})
		assertLine(t, err, "looking for the role fleet-provisioning-role: iam:GetRole: User: arn:aws:iam::123456789012:user/DevAdmin is not authorized to perform: iam:GetRole (AccessDenied): your credentials lack the right to iam:GetRole: ask whoever manages the account for it")
		var refused smithy.APIError
		assert.ErrorAs(t, err, &refused)
	})
	t.Run("throttling", func(t *testing.T) {
		c := newCloud(t, refuse(400, "ThrottlingException", "Rate exceeded", 1))
		c.config.Retryer = func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), 1) }
		_, err := c.open(t).PlanSetup(deadline(t), operator.Setup{})
		assertLine(t, err, "Rate exceeded (ThrottlingException): AWS asks for fewer requests: wait a minute and run it again")
	})
	t.Run("AWS is not reached", func(t *testing.T) {
		c := newCloud(t, nil)
		c.config.BaseEndpoint = aws.String("http://127.0.0.1:1")
		c.config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		_, err := operator.Open(deadline(t), c.config)
		assertLine(t, err, ": AWS was not reached: check the network and the region")
	})
}

// assertLine requires that an error is one line with a text in it.
func assertLine(t *testing.T, err error, want string, about ...any) {
	t.Helper()
	require.ErrorContains(t, err, want, about...)
	assert.NotContains(t, err.Error(), "\n", about...)
}

// A name that something else has is left alone, and named before anything is made.
func TestNamesThatAreTaken(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	other := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	_, err := c.iam.CreateRole(deadline(t), &iam.CreateRoleInput{RoleName: aws.String("fleet-hook-role"), AssumeRolePolicyDocument: &other})
	require.NoError(t, err)
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}`
	_, err = c.iot.CreatePolicy(deadline(t), &iot.CreatePolicyInput{PolicyName: aws.String("fleet-device-policy"), PolicyDocument: &document})
	require.NoError(t, err)
	before := c.contents(t)

	s := operator.Setup{ClaimFile: filepath.Join(t.TempDir(), "claim.pfx")}
	_, err = account.PlanSetup(deadline(t), s)
	require.Error(t, err)
	assert.Equal(t, []string{
		"there is a policy fleet-device-policy already, and it allows other things than this fleet needs: -replace makes it this fleet's, -name chooses another name",
		"there is a role fleet-hook-role already, and others may take it than this fleet needs (its trust policy is different): -replace makes it this fleet's, -name chooses another name",
	}, strings.Split(err.Error(), "\n"))
	assert.Equal(t, before, c.contents(t))

	s.Replace = true
	setup(t, account, s)
	s.Replace = false
	again, err := account.PlanSetup(deadline(t), s)
	require.NoError(t, err)
	assert.Empty(t, whats(again))
}

// Everything that setup makes is made right again, wherever it was changed.
func TestReplaceMakesRightWhatWasChanged(t *testing.T) {
	noPython(t)
	tests := map[string]func(b breaker){
		"a policy":            func(b breaker) { b.edit("fleet-claim-policy", "client/fleetprov-*", "client/*") },
		"a template's body":   func(b breaker) { b.editTemplate(`"60"`, `"30"`) },
		"a disabled template": func(b breaker) { b.updateTemplate(&iot.UpdateProvisioningTemplateInput{Enabled: aws.Bool(false)}) },
		"a template's hook": func(b breaker) {
			b.updateTemplate(&iot.UpdateProvisioningTemplateInput{RemovePreProvisioningHook: aws.Bool(true)})
		},
		"a trust policy":       func(b breaker) { b.trust("fleet-provisioning-role", "123456789012", "210987654321") },
		"a policy of a role":   func(b breaker) { b.replaceRolePolicy("fleet-hook-role", "fleet-hook-role-policy") },
		"a function's code":    func(b breaker) { b.replaceCode("fleet-provisioning-hook") },
		"a function's timeout": func(b breaker) { b.slowDown("fleet-rotation-hook") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, nil)
			account := c.open(t)
			s := setup(t, account, operator.Setup{SerialNumbers: []string{"0001"}})
			change(breaker{t, deadline(t), c, account, c.claimID(t)})
			_, err := account.PlanSetup(deadline(t), s)
			require.ErrorContains(t, err, "-replace makes it this fleet's")
			s.Replace = true
			plan, err := account.PlanSetup(deadline(t), s)
			require.NoError(t, err)
			require.NotEmpty(t, plan.Steps)
			assert.Equal(t, "replace", plan.Steps[0].Verb)
			run(t, plan)
			plan, err = account.PlanSetup(deadline(t), s)
			require.NoError(t, err)
			assert.Empty(t, whats(plan))
		})
	}
}

// A step that fails is named, with what to do about what was made before.
func TestFailedStepIsNamed(t *testing.T) {
	noPython(t)
	c := newCutCloud(t, "the request is refused")
	plan, err := c.account.PlanSetup(deadline(t), c.setting)
	require.NoError(t, err)
	c.cutter.arm(3)
	err = plan.Run(deadline(t), nil)
	assertLine(t, err, "step 3 of 16, create policy fleet-device-policy: iot:CreatePolicy: no (AccessDeniedException): your credentials lack the right to iot:CreatePolicy: ask whoever manages the account for it; what was made before stays: run setup again, and it goes on from there")
}
