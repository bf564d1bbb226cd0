package fleetprovtest_test

import (
	"archive/zip"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// operator asks the control plane of a server.
type operator struct {
	t      *testing.T
	server *fleetprovtest.Server
}

// do requires that a request succeeds. A body that is text is a form.
func (o operator) do(method, path string, body any) map[string]any {
	o.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(o.t, err)
	form, isForm := body.(string)
	if isForm {
		data = []byte(form)
	}
	request := httptest.NewRequest(method, "http://localhost"+path, bytes.NewReader(data))
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iot/aws4_request, Signature=0")
	if isForm {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	recorder := httptest.NewRecorder()
	o.server.ControlPlane().ServeHTTP(recorder, request)
	require.Less(o.t, recorder.Code, 300, recorder.Body)
	var answer map[string]any
	if !isForm && recorder.Body.Len() > 0 {
		require.NoError(o.t, json.Unmarshal(recorder.Body.Bytes(), &answer))
	}
	return answer
}

// identity is the claim in an answer.
func (o operator) identity(answer map[string]any) *fleetprov.Identity {
	o.t.Helper()
	keyPair := answer["keyPair"].(map[string]any)
	pair, err := tls.X509KeyPair([]byte(answer["certificatePem"].(string)), []byte(keyPair["PrivateKey"].(string)))
	require.NoError(o.t, err)
	claim, err := fleetprov.NewIdentity(pair, o.server.RootCertificate())
	require.NoError(o.t, err)
	return claim
}

func (o operator) provision(template string, claim *fleetprov.Identity, parameters map[string]string) error {
	o.t.Helper()
	provisioner, err := fleetprov.New(o.server.Endpoint(), template, claim, fleetprov.WithMaxAttempts(1))
	require.NoError(o.t, err)
	_, err = provisioner.Provision(provtest.Context(o.t), parameters)
	return err
}

func newOperator(t *testing.T) operator {
	t.Helper()
	server := fleetprovtest.NewServer()
	t.Cleanup(server.Close)
	return operator{t, server}
}

func TestControlPlaneBeforeStart(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	defer server.Close()
	assert.Panics(t, func() { server.ControlPlane() })
}

func TestClaimOfATrustedUserLivesFiveMinutes(t *testing.T) {
	o := newOperator(t)
	require.NoError(t, o.server.AddTemplate("other", `{"Resources":{"p":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"p"}}}}`))
	answer := o.do("POST", "/provisioning-templates/test-template/provisioning-claim", nil)
	assert.InDelta(t, time.Now().Add(5*time.Minute).Unix(), answer["expiration"], 30)
	claim := o.identity(answer)
	assert.Equal(t, answer["expiration"], float64(claim.Certificate().NotAfter.Unix()))

	require.NoError(t, o.provision("test-template", claim, nil))
	o.server.Advance(4 * time.Minute)
	require.NoError(t, o.provision("test-template", claim, nil))
	assert.Error(t, o.provision("other", claim, nil), "it is for one template")
	o.server.Advance(time.Minute)
	assert.Error(t, o.provision("test-template", claim, nil))
	assert.Len(t, o.server.Things(), 2)
	assert.Len(t, o.server.Certificates(), 2, "the claim is not among them")

	// Its time is counted from now, whatever the clock of the server says.
	require.NoError(t, o.provision("test-template", o.identity(o.do("POST", "/provisioning-templates/test-template/provisioning-claim", nil)), nil))
}

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`

func TestClaimThatAnOperatorMakes(t *testing.T) {
	o := newOperator(t)
	answer := o.do("POST", "/keys-and-certificate", nil)
	id, claim := answer["certificateId"].(string), o.identity(answer)
	assert.Error(t, o.provision("test-template", claim, nil), "it is not active")
	o.do("PUT", "/certificates/"+id+"?newStatus=ACTIVE", nil)
	assert.Error(t, o.provision("test-template", claim, nil), "it has no policy")
	o.do("POST", "/policies/claim", map[string]string{"policyDocument": allowAll})
	o.do("PUT", "/target-policies/claim", map[string]any{"target": answer["certificateArn"]})
	require.NoError(t, o.provision("test-template", claim, nil))

	// The other way round: what devices and the methods of Server have made.
	thing := o.server.Things()[0].Name
	assert.Equal(t, thing, o.do("GET", "/things/"+thing, nil)["thingName"])
	assert.Len(t, o.do("GET", "/certificates", nil)["certificates"], 2)
	require.NoError(t, o.server.UpdateCertificate(id, "INACTIVE"))
	described := o.do("GET", "/certificates/"+id, nil)["certificateDescription"].(map[string]any)
	assert.Equal(t, "INACTIVE", described["status"])
	assert.Equal(t, o.server.Endpoint(), o.do("GET", "/endpoint?endpointType=iot:Data-ATS", nil)["endpointAddress"])

	o.do("POST", "/target-policies/claim", map[string]any{"target": answer["certificateArn"]})
	o.server.Advance(time.Second)
	o.do("DELETE", "/certificates/"+id, nil)
	assert.Len(t, o.server.Certificates(), 1)
}

func TestCertificateOfAnotherAuthorityIsRegistered(t *testing.T) {
	for _, test := range []struct {
		name      string
		refusal   fleetprovtest.Refusal
		clientCAs *x509.CertPool
		connects  bool
	}{
		{"it connects", fleetprovtest.RefuseByClosing, nil, true},
		{"it does not to a server with RefuseInHandshake, which verifies the chain", fleetprovtest.RefuseInHandshake, nil, false},
		{"it does if that has ClientCAs", fleetprovtest.RefuseInHandshake, x509.NewCertPool(), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.Refusal = test.refusal
			server.TLS = &tls.Config{ClientCAs: test.clientCAs}
			server.Start()
			t.Cleanup(server.Close)
			o := operator{t, server}
			own := testca.New("own").Client("device", testca.Validity{})
			claim, err := fleetprov.NewIdentity(own, server.RootCertificate())
			require.NoError(t, err)
			assert.Error(t, o.provision("test-template", claim, nil), "it is not registered")
			answer := o.do("POST", "/certificate/register-no-ca", map[string]string{
				"status": "ACTIVE", "certificatePem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Leaf.Raw})),
			})
			o.do("POST", "/policies/claim", map[string]string{"policyDocument": allowAll})
			o.do("PUT", "/target-policies/claim", map[string]any{"target": answer["certificateArn"]})
			assert.Equal(t, test.connects, o.provision("test-template", claim, nil) == nil)
		})
	}
}

const body = `{
	"Parameters": {"ThingName": {"Type": "String"}},
	"Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "ThingName"}}}}
}`

// createRole makes a role that a service may take.
func (o operator) createRole(name, service, policy string) {
	o.t.Helper()
	trust := `{"Statement":{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}}`
	form := url.Values{"Version": {"2010-05-08"}, "RoleName": {name}, "AssumeRolePolicyDocument": {trust}, "PolicyArn": {policy}}
	for _, action := range []string{"CreateRole", "AttachRolePolicy"} {
		form.Set("Action", action)
		o.do("POST", "/", form.Encode())
	}
}

func (o operator) createTemplate(more map[string]any) {
	o.t.Helper()
	o.createRole("registers", "iot.amazonaws.com", "arn:aws:iam::aws:policy/service-role/AWSIoTThingsRegistration")
	more["templateName"], more["templateBody"] = "fleet", body
	more["provisioningRoleArn"] = "arn:aws:iam::123456789012:role/registers"
	o.do("POST", "/provisioning-templates", more)
}

func (o operator) claim() *fleetprov.Identity {
	o.t.Helper()
	claim, err := fleetprov.ParsePFX(o.server.ClaimPFX("password"), "password")
	require.NoError(o.t, err)
	return claim
}

func requireStatus(t *testing.T, status int, err error) {
	t.Helper()
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, status, rejected.StatusCode)
}

func TestTemplateThatAnOperatorMakes(t *testing.T) {
	o := newOperator(t)
	o.createTemplate(map[string]any{})
	device := map[string]string{"ThingName": "device"}
	requireStatus(t, 400, o.provision("fleet", o.claim(), device)) // it is not enabled
	o.do("PATCH", "/provisioning-templates/fleet", map[string]any{"enabled": true})
	require.NoError(t, o.provision("fleet", o.claim(), device))

	renamed := strings.Replace(body, `{"Ref": "ThingName"}`, `{"Fn::Join": ["", ["v2-", {"Ref": "ThingName"}]]}`, 1)
	o.do("POST", "/provisioning-templates/fleet/versions?setAsDefault=true", map[string]any{"templateBody": renamed})
	require.NoError(t, o.provision("fleet", o.claim(), device))
	assert.Equal(t, "v2-device", o.server.Things()[1].Name)

	o.do("POST", "/", "Action=DetachRolePolicy&Version=2010-05-08&RoleName=registers&PolicyArn=arn:aws:iam::aws:policy/service-role/AWSIoTThingsRegistration")
	requireStatus(t, 403, o.provision("fleet", o.claim(), device))
	o.do("DELETE", "/provisioning-templates/fleet", nil)
	assert.Error(t, o.provision("fleet", o.claim(), device))
}

// createFunction makes a function f that AWS IoT may call for the template fleet.
func (o operator) createFunction(module string) (arn any) {
	o.t.Helper()
	o.createRole("runs", "lambda.amazonaws.com", "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")
	function := o.do("POST", "/2015-03-31/functions", map[string]any{
		"FunctionName": "f", "Runtime": "python3.13", "Handler": "module.f", "Timeout": 1,
		"Role": "arn:aws:iam::123456789012:role/runs", "Code": map[string]any{"ZipFile": packed(o.t, module)},
	})
	o.do("POST", "/2015-03-31/functions/f/policy", map[string]any{
		"StatementId": "iot", "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com", "SourceAccount": "123456789012",
		"SourceArn": "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/fleet",
	})
	return function["FunctionArn"]
}

func packed(t *testing.T, module string) []byte {
	t.Helper()
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	file, err := writer.Create("module.py")
	require.NoError(t, err)
	_, err = io.WriteString(file, module)
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	return archive.Bytes()
}

func TestFunctionIsAskedAsHook(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	for _, test := range []struct {
		name, module string
		thing        string // "": refused
		logged       string
	}{
		{"that allows", "def f(event, context): return {'allowProvisioning': True}", "device", ""},
		{"that refuses", "def f(event, context): return {'allowProvisioning': False}", "", "it refused"},
		{"that overrides", "def f(event, context): return {'allowProvisioning': True, 'parameterOverrides': {'ThingName': event['parameters']['ThingName'] + '-2'}}", "device-2", ""},
		{"that sees the event", "def f(event, context): return {'allowProvisioning': sorted(event) == " +
			"['certificateId', 'certificatePem', 'claimCertificateId', 'clientId', 'parameters', 'templateArn'] and event['templateArn'].endswith(':provisioningtemplate/fleet')}", "device", ""},
		{"that fails", "def f(event, context): raise ValueError('of the function')", "", "ValueError: of the function"},
		{"that says nothing", "def f(event, context): print('a word')", "", "it refused"},
		{"that says something else", "def f(event, context): return 'yes'", "", "cannot be used"},
		{"that cannot be imported", "import nothing_of_that_name", "", "No module named 'nothing_of_that_name'"},
		{"that takes too long", "import time\ndef f(event, context): time.sleep(1000)", "", "deadline exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &logged{}
			server := fleetprovtest.NewUnstartedServer()
			server.Logger = log.logger()
			server.Start()
			t.Cleanup(server.Close)
			o := operator{t, server}
			o.createTemplate(map[string]any{"enabled": true, "preProvisioningHook": map[string]any{"targetArn": o.createFunction(test.module)}})
			err := o.provision("fleet", o.claim(), map[string]string{"ThingName": "device"})
			assert.Contains(t, log.String(), test.logged)
			if test.thing == "" {
				requireStatus(t, 403, err)
				assert.Empty(t, server.Things())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.thing, server.Things()[0].Name)
		})
	}
}

func TestFunctionIsReplacedAndForbidden(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	o := newOperator(t)
	o.createTemplate(map[string]any{"enabled": true, "preProvisioningHook": map[string]any{
		"targetArn": o.createFunction("def f(event, context): return {'allowProvisioning': False}")}})
	device := map[string]string{"ThingName": "device"}
	requireStatus(t, 403, o.provision("fleet", o.claim(), device))
	o.do("PUT", "/2015-03-31/functions/f/code", map[string]any{"ZipFile": packed(t, "def f(event, context): return {'allowProvisioning': True}")})
	require.NoError(t, o.provision("fleet", o.claim(), device))

	assert.Contains(t, o.do("GET", "/2015-03-31/functions/f/policy", nil)["Policy"], `"AWS:SourceAccount":"123456789012"`)
	o.do("DELETE", "/2015-03-31/functions/f/policy/iot", nil)
	requireStatus(t, 403, o.provision("fleet", o.claim(), device))
	o.do("PATCH", "/provisioning-templates/fleet", map[string]any{"removePreProvisioningHook": true})
	require.NoError(t, o.provision("fleet", o.claim(), device))
	o.do("DELETE", "/2015-03-31/functions/f", nil)
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	assert.Empty(t, left, "the directories of the functions are removed")
}
