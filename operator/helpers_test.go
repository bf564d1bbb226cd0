package operator_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/operator"
)

// cloud is an account with its control plane, and the clients with which tests look at it
// and break it.
type cloud struct {
	server *fleetprovtest.Server
	config aws.Config
	iot    *iot.Client
	iam    *iam.Client
	lambda *lambda.Client
}

// newCloud wraps the control plane, unless wrap is nil.
func newCloud(t *testing.T, wrap func(http.Handler) http.Handler) *cloud {
	t.Helper()
	server := fleetprovtest.NewServer()
	t.Cleanup(server.Close)
	handler := server.ControlPlane()
	if wrap != nil {
		handler = wrap(handler)
	}
	control := httptest.NewServer(handler)
	t.Cleanup(control.Close)
	config := aws.Config{
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider("any", "any", ""),
		BaseEndpoint: aws.String(control.URL),
	}
	return &cloud{server, config, iot.NewFromConfig(config), iam.NewFromConfig(config), lambda.NewFromConfig(config)}
}

func (c *cloud) open(t *testing.T) *operator.Account {
	t.Helper()
	account, err := operator.Open(deadline(t), c.config)
	require.NoError(t, err)
	return account
}

// deadline ends a test that hangs.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// noPython makes sure that no hook is started: it takes a second, and is not what the test
// is about. Devices are refused then.
func noPython(t *testing.T) {
	t.Helper()
	t.Setenv("PATH", "")
}

// needsPython skips a test whose devices ask hooks.
func needsPython(t *testing.T) {
	t.Helper()
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("there is no python3 with boto3")
	}
}

// setup makes a fleet, with the claim in the test's directory.
func setup(t *testing.T, account *operator.Account, s operator.Setup) operator.Setup {
	t.Helper()
	if s.ClaimFile == "" {
		s.ClaimFile = filepath.Join(t.TempDir(), "claim_identity.pfx")
	}
	plan, err := account.PlanSetup(deadline(t), s)
	require.NoError(t, err)
	require.NotEmpty(t, plan.Steps)
	run(t, plan)
	return s
}

func run(t *testing.T, plan *operator.Plan) {
	t.Helper()
	require.NoError(t, plan.Run(deadline(t), nil))
}

// provision provisions a device against fleet-template.
func (c *cloud) provision(t *testing.T, claim *fleetprov.Identity, serialNumber string) (*fleetprov.Credentials, error) {
	t.Helper()
	p, err := fleetprov.New(c.server.Endpoint(), "fleet-template", claim,
		fleetprov.WithRootCAs(c.server.RootCAs()), fleetprov.WithLogger(nil), fleetprov.WithMaxAttempts(1))
	require.NoError(t, err)
	return p.Provision(deadline(t), map[string]string{"SerialNumber": serialNumber})
}

// contents lists what is in the account, one line each. Certificates that nobody has
// registered are AWS's to delete.
func (c *cloud) contents(t *testing.T) []string {
	t.Helper()
	var all []string
	ctx := deadline(t)
	for _, role := range []string{"fleet-provisioning-role", "fleet-hook-role"} {
		if _, err := c.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &role}); err == nil {
			all = append(all, "role "+role)
			attached, err := c.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
			require.NoError(t, err)
			for _, p := range attached.AttachedPolicies {
				all = append(all, "role "+role+" has "+*p.PolicyArn)
			}
			inline, err := c.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})
			require.NoError(t, err)
			for _, name := range inline.PolicyNames {
				all = append(all, "role "+role+" has "+name)
			}
		}
	}
	functions, err := c.lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{})
	require.NoError(t, err)
	for _, f := range functions.Functions {
		all = append(all, "function "+*f.FunctionName+" "+*f.CodeSha256)
		if policy, err := c.lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: f.FunctionName}); err == nil {
			all = append(all, "function "+*f.FunctionName+" "+*policy.Policy)
		}
	}
	return append(all, c.iotContents(t)...)
}

func (c *cloud) iotContents(t *testing.T) []string {
	t.Helper()
	var all []string
	ctx := deadline(t)
	policies, err := c.iot.ListPolicies(ctx, &iot.ListPoliciesInput{})
	require.NoError(t, err)
	for _, p := range policies.Policies {
		targets, err := c.iot.ListTargetsForPolicy(ctx, &iot.ListTargetsForPolicyInput{PolicyName: p.PolicyName})
		require.NoError(t, err)
		all = append(all, "policy "+*p.PolicyName+strings.Repeat(" attached", len(targets.Targets)))
	}
	templates, err := c.iot.ListProvisioningTemplates(ctx, &iot.ListProvisioningTemplatesInput{})
	require.NoError(t, err)
	for _, one := range templates.Templates {
		all = append(all, "template "+*one.TemplateName)
	}
	certificates, err := c.iot.ListCertificates(ctx, &iot.ListCertificatesInput{})
	require.NoError(t, err)
	for _, one := range certificates.Certificates {
		if one.Status != "PENDING_ACTIVATION" {
			all = append(all, "certificate "+string(one.Status))
		}
	}
	things, err := c.iot.ListThings(ctx, &iot.ListThingsInput{})
	require.NoError(t, err)
	for _, thing := range things.Things {
		all = append(all, "thing "+*thing.ThingName)
	}
	slices.Sort(all)
	return all
}

// whats are the subjects of the steps.
func whats(plan *operator.Plan) []string {
	var all []string
	for _, step := range plan.Steps {
		all = append(all, step.String())
	}
	return all
}

func findStatus(t *testing.T, c *cloud, id string, want types.CertificateStatus) {
	t.Helper()
	found, err := c.iot.DescribeCertificate(deadline(t), &iot.DescribeCertificateInput{CertificateId: &id})
	require.NoError(t, err)
	require.Equal(t, want, found.CertificateDescription.Status)
}
