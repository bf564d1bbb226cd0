package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// rights are names of actions, such as iot:GetPolicy.
type rights map[string]bool

func (r rights) names() []string { return slices.Sorted(maps.Keys(r)) }

// callLog is a handler for the log of a control plane, which collects what is called.
type callLog struct {
	mu   sync.Mutex
	seen rights // nil: nobody wants to know
}

func (c *callLog) Enabled(context.Context, slog.Level) bool { return true }
func (c *callLog) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *callLog) WithGroup(string) slog.Handler            { return c }

func (c *callLog) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "service" && a.Value.String() != "sts" {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.seen != nil {
				c.seen[a.Value.String()+":"+strings.TrimSuffix(record.Message, " refused")] = true
			}
		}
		return true
	})
	return nil
}

// passing are what hands a role on, which takes a right of its own.
var passing = []string{"lambda:CreateFunction", "lambda:UpdateFunctionConfiguration", "iot:CreateProvisioningTemplate", "iot:UpdateProvisioningTemplate"}

const passRole = "iam:PassRole"

// collect returns what is called while do runs.
func (c *callLog) collect(do func()) rights {
	seen := rights{}
	set := func(to rights) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen = to
	}
	set(seen)
	do()
	set(nil)
	if slices.ContainsFunc(passing, func(call string) bool { return seen[call] }) {
		seen[passRole] = true
	}
	return seen
}

// The table of docs/aws.md is what an administrator writes a policy from: it names all that
// a command calls, and no more.
func TestDocumentedRightsAreWhatTheCommandsCall(t *testing.T) {
	written, inSource := readRights(t), calledInSource(t)
	calls := &callLog{}
	server := fleetprovtest.NewUnstartedServer()
	server.Logger = slog.New(calls)
	s := newShellOf(t, server)
	w := newWorker(t, s)
	seen := make(map[string]rights)
	as := func(row string, arguments ...string) (out string) {
		t.Helper()
		more := calls.collect(func() { out = s.succeeds(arguments...) })
		if seen[row] == nil {
			seen[row] = rights{}
		}
		maps.Copy(seen[row], more)
		return out
	}

	require.NoError(t, os.WriteFile("serials", []byte("0001\n"), 0o600))
	as("setup -dry-run", "setup", "-dry-run", "-serials", "serials")
	w.begin("claim_identity.pending")
	as("setup", "setup", "-serials", "serials")
	w.allowAnotherTemplate("fleet-rotation-hook")
	as("setup", "setup")
	as("setup -dry-run", "setup", "-dry-run", "-serials", "serials")
	as("doctor", "doctor", "-endpoint", server.Endpoint(), "-param", "SerialNumber=0001")

	w.begin("second.pending")
	second := strings.Fields(as("claim", "claim", "-out", "second.pfx"))[1]
	as("claim", "claim", "-deactivate", second)
	as("trusted", "trusted", "-out", "trusted.pfx")
	as("serials", "serials", "add", "0002")
	as("serials", "serials", "list")

	w.removeHook()
	first := w.provision("0001")
	w.provision("0001")
	as("retire", "retire", first)
	as("retire -delete", "retire", "-delete")
	as("release", "release", "0001")

	w.changeEverything()
	as("setup -replace", "setup", "-replace")
	w.changeEverything()
	as("setup -replace", "setup", "-replace")
	w.begin("claim_identity.pending")
	w.removeHook()
	w.lose(w.provision("0003"), "device-0003")
	as("teardown", "teardown", "-yes", "-replace")

	// Each does what the one before does where there is nothing more to do.
	maps.Copy(seen["setup"], seen["setup -dry-run"])
	maps.Copy(seen["setup -replace"], seen["setup"])
	all := rights{}
	for row, names := range seen {
		assert.Equal(t, names.names(), written[row].names(), row)
		maps.Copy(all, names)
	}
	assert.ElementsMatch(t, slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(written)))
	delete(all, passRole)
	assert.Equal(t, inSource.names(), all.names(), "this test does not take the command everywhere")
}

// readRights reads the table of docs/aws.md. A row may begin with those of another: "those of
// `setup`, and".
func readRights(t *testing.T) map[string]rights {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "aws.md"))
	require.NoError(t, err)
	rows := make(map[string]rights)
	row := regexp.MustCompile("(?m)^\\| `([a-z -]+)` \\| (?:those of `([a-z -]+)`, and )?(.*) \\|$")
	action := regexp.MustCompile("`([a-z]+:[A-Za-z]+)`")
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		names := maps.Clone(rows[found[2]])
		if names == nil {
			names = rights{}
		}
		for _, one := range action.FindAllStringSubmatch(found[3], -1) {
			names[one[1]] = true
		}
		rows[found[1]] = names
	}
	require.NotEmpty(t, rows)
	return rows
}

// calledInSource returns what the source of the library calls. A waiter of Lambda's calls
// GetFunction.
func calledInSource(t *testing.T) rights {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "*.go"))
	require.NoError(t, err)
	called := rights{}
	call := regexp.MustCompile(`\b(iot|iam|lambda)\.(?:New([A-Z]\w+)Paginator|([A-Z]\w+))\(ctx|\b(iot|iam|lambda)\.New([A-Z]\w+)Paginator\(|NewFromConfig\(config\)\.([A-Z]\w+)\(ctx`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range call.FindAllStringSubmatch(string(source), -1) {
			service, name := found[1]+found[4], found[2]+found[3]+found[5]+found[6]
			if service == "" {
				service = "iot"
			}
			if name != "GetCallerIdentity" {
				called[service+":"+name] = true
			}
		}
	}
	return called
}

// worker does to an account what the commands do not.
type worker struct {
	shell
	ctx    context.Context
	iot    *iot.Client
	iam    *iam.Client
	lambda *lambda.Client
}

func newWorker(t *testing.T, s shell) worker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	loaded, err := config.LoadDefaultConfig(ctx)
	require.NoError(t, err)
	return worker{s, ctx, iot.NewFromConfig(loaded), iam.NewFromConfig(loaded), lambda.NewFromConfig(loaded)}
}

func (w worker) must(_ any, err error) { w.t.Helper(); require.NoError(w.t, err) }

// begin leaves the key of a claim whose making was cut off.
func (w worker) begin(file string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	w.must(w.iot.CreateKeysAndCertificate(w.ctx, &iot.CreateKeysAndCertificateInput{})) // of another key
}

func (w worker) allowAnotherTemplate(function string) {
	statement := aws.String("aws-iot")
	w.must(w.lambda.RemovePermission(w.ctx, &lambda.RemovePermissionInput{FunctionName: &function, StatementId: statement}))
	w.must(w.lambda.AddPermission(w.ctx, &lambda.AddPermissionInput{
		FunctionName: &function, StatementId: statement, Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("iot.amazonaws.com"),
		SourceArn: aws.String("arn:aws:iot:eu-west-1:123456789012:provisioningtemplate/another"),
	}))
}

func (w worker) removeHook() {
	w.must(w.iot.UpdateProvisioningTemplate(w.ctx, &iot.UpdateProvisioningTemplateInput{TemplateName: aws.String("fleet-template"), RemovePreProvisioningHook: aws.Bool(true)}))
}

// provision returns the id of the certificate that a device gets.
func (w worker) provision(serialNumber string) string {
	password, err := os.ReadFile("claim_identity.password")
	require.NoError(w.t, err)
	claim, err := fleetprov.LoadPFX("claim_identity.pfx", strings.TrimSpace(string(password)))
	require.NoError(w.t, err)
	p, err := fleetprov.New(w.server.Endpoint(), "fleet-template", claim, fleetprov.WithRootCAs(w.server.RootCAs()), fleetprov.WithMaxAttempts(1), fleetprov.WithLogger(nil))
	require.NoError(w.t, err)
	credentials, err := p.Provision(w.ctx, map[string]string{"SerialNumber": serialNumber})
	require.NoError(w.t, err)
	return credentials.CertificateID
}

// lose deletes the certificate of a thing.
func (w worker) lose(id, thing string) {
	w.must(w.iot.DetachThingPrincipal(w.ctx, &iot.DetachThingPrincipalInput{ThingName: &thing, Principal: aws.String("arn:aws:iot:eu-west-1:123456789012:cert/" + id)}))
	w.server.Advance(time.Minute) // it takes a moment
	w.must(w.iot.UpdateCertificate(w.ctx, &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: types.CertificateStatusInactive}))
	w.must(w.iot.DeleteCertificate(w.ctx, &iot.DeleteCertificateInput{CertificateId: &id, ForceDelete: true}))
}

// changeEverything makes each part that can differ another than setup makes.
func (w worker) changeEverything() {
	other := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}`)
	w.must(w.iot.CreatePolicyVersion(w.ctx, &iot.CreatePolicyVersionInput{PolicyName: aws.String("fleet-claim-policy"), PolicyDocument: other, SetAsDefault: true}))
	w.must(w.iam.PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{RoleName: aws.String("fleet-hook-role"), PolicyName: aws.String("fleet-hook-role-policy"), PolicyDocument: other}))
	w.must(w.iam.UpdateAssumeRolePolicy(w.ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("fleet-provisioning-role"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"iot.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)}))
	w.must(w.lambda.UpdateFunctionConfiguration(w.ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("fleet-provisioning-hook"), Timeout: aws.Int32(60)}))
	w.removeHook()
}
