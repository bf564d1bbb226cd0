package interop_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// awsOperator sets an account up over its control plane.
type awsOperator struct {
	t      *testing.T
	server *fleetprovtest.Server
	url    string
}

func newAWSOperator(t *testing.T) awsOperator {
	t.Helper()
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("there is no python3 with boto3")
	}
	server := provtest.NewServer(t)
	control := httptest.NewServer(server.ControlPlane())
	t.Cleanup(control.Close)
	return awsOperator{t, server, control.URL}
}

// do sends a request, whose body is JSON or a form, and requires that it succeeds.
func (o awsOperator) do(method, path string, body any) map[string]any {
	o.t.Helper()
	var content io.Reader = http.NoBody
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		content, contentType = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	default:
		data, err := json.Marshal(b)
		require.NoError(o.t, err)
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(provtest.Context(o.t), method, o.url+path, content)
	require.NoError(o.t, err)
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	require.NoError(o.t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(o.t, err)
	require.Less(o.t, response.StatusCode, 300, "%s %s: %s", method, path, data)
	var answer map[string]any
	if contentType == "application/json" && len(data) > 0 {
		require.NoError(o.t, json.Unmarshal(data, &answer))
	}
	return answer
}

// document is a file of examples/aws, filled in.
func (o awsOperator) document(name string) string {
	o.t.Helper()
	data, err := os.ReadFile(provtest.Root(o.t, "examples/aws", name))
	require.NoError(o.t, err)
	return strings.NewReplacer("REGION", "us-east-1", "ACCOUNT_ID", "123456789012").Replace(string(data))
}

func (o awsOperator) archive(files ...string) []byte {
	o.t.Helper()
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	for _, name := range files {
		file, err := writer.Create(name)
		require.NoError(o.t, err)
		_, err = io.WriteString(file, o.document(name))
		require.NoError(o.t, err)
	}
	require.NoError(o.t, writer.Close())
	return archive.Bytes()
}

// setUp makes the roles, policies, hooks and templates of the README.
func (o awsOperator) setUp() {
	o.t.Helper()
	for role, trust := range map[string]string{
		"fleet-provisioning-role": "provisioning-role-trust-policy.json",
		"fleet-hook-role":         "hook-role-trust-policy.json",
	} {
		o.do("POST", "/", url.Values{"Action": {"CreateRole"}, "Version": {"2010-05-08"}, "RoleName": {role}, "AssumeRolePolicyDocument": {o.document(trust)}})
	}
	o.do("POST", "/", url.Values{"Action": {"AttachRolePolicy"}, "Version": {"2010-05-08"}, "RoleName": {"fleet-provisioning-role"},
		"PolicyArn": {"arn:aws:iam::aws:policy/service-role/AWSIoTThingsRegistration"}})
	for name, file := range map[string]string{"fleet-device-policy": "device-policy.json", "fleet-rotation-policy": "rotation-policy.json"} {
		o.do("POST", "/policies/"+name, map[string]any{"policyDocument": o.document(file)})
	}
	o.addTemplate("fleet-template", "provisioning-template.json", "provisioning_hook", "serial-numbers.txt")
	o.addTemplate("fleet-rotation-template", "rotation-template.json", "rotation_hook")
}

func (o awsOperator) addTemplate(name, body, module string, more ...string) {
	o.t.Helper()
	function := o.do("POST", "/2015-03-31/functions", map[string]any{
		"FunctionName": module, "Runtime": "python3.13", "Handler": module + ".handler", "Timeout": 5,
		"Role": "arn:aws:iam::123456789012:role/fleet-hook-role", "Code": map[string]any{"ZipFile": o.archive(append(more, module+".py")...)},
	})
	o.do("POST", "/2015-03-31/functions/"+module+"/policy", map[string]any{
		"StatementId": "aws-iot", "Action": "lambda:InvokeFunction", "Principal": "iot.amazonaws.com",
		"SourceArn": "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/" + name,
	})
	o.do("POST", "/provisioning-templates", map[string]any{
		"templateName": name, "templateBody": o.document(body), "enabled": true,
		"provisioningRoleArn": "arn:aws:iam::123456789012:role/fleet-provisioning-role",
		"preProvisioningHook": map[string]any{"targetArn": function["FunctionArn"]},
	})
}

// provision provisions a device with a serial number.
func (o awsOperator) provision(serialNumber string, opts ...fleetprov.Option) (*fleetprov.Credentials, error) {
	o.t.Helper()
	provisioner, err := fleetprov.New(o.server.Endpoint(), "fleet-template", provtest.Claim(o.t, o.server), append([]fleetprov.Option{provtest.OneAttempt}, opts...)...)
	require.NoError(o.t, err)
	return provisioner.Provision(provtest.Context(o.t), map[string]string{"SerialNumber": serialNumber})
}

func requireForbidden(t *testing.T, err error) {
	t.Helper()
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, 403, rejected.StatusCode)
	assert.ErrorContains(t, err, "release")
}

func TestAWSProvisioningHook(t *testing.T) {
	o := newAWSOperator(t)
	o.setUp()

	_, err := o.provision("0003")
	requireForbidden(t, err)
	_, err = o.provision("../things/0001")
	requireForbidden(t, err)

	// The answer is lost, and the device asks again with the same certificate.
	o.server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Disconnect: true})
	credentials, err := o.provision("0001", fleetprov.WithMaxAttempts(3), fleetprov.WithBackoff(1, 1))
	require.NoError(t, err)
	assert.Len(t, o.server.Things()[0].CertificateIDs, 1)

	_, err = o.provision("0001")
	requireForbidden(t, err)
	_, err = o.provision("0002")
	require.NoError(t, err, "each serial number is by itself")

	o.do("PUT", "/certificates/"+credentials.CertificateID+"?newStatus=INACTIVE", nil)
	released, err := o.provision("0001")
	require.NoError(t, err)
	assert.Equal(t, "device-0001", released.ThingName)
}

// The hook decides by the certificate, so it holds where a device may use any client id.
func TestAWSRotationHook(t *testing.T) {
	o := newAWSOperator(t)
	o.setUp()
	o.do("POST", "/policies/fleet-device-policy/version?setAsDefault=true", map[string]any{
		"policyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}`,
	})
	credentials, err := o.provision("0001")
	require.NoError(t, err)
	_, err = o.provision("0002")
	require.NoError(t, err)

	identity, err := credentials.Identity()
	require.NoError(t, err)
	renew := func(clientID string, parameters map[string]string) (*fleetprov.Credentials, error) {
		renewer, err := fleetprov.New(o.server.Endpoint(), "fleet-rotation-template", identity, provtest.OneAttempt, fleetprov.WithClientID(clientID))
		require.NoError(t, err)
		return renewer.Provision(provtest.Context(t), parameters)
	}
	for _, thing := range []string{"device-0002", "device-000", "device-0003", "other"} {
		_, err = renew(thing, map[string]string{"ThingName": thing})
		requireForbidden(t, err)
	}
	_, err = renew("empty", map[string]string{"ThingName": ""})
	requireForbidden(t, err)
	_, err = renew("none", map[string]string{"SerialNumber": "0001"})
	requireForbidden(t, err)
	renewed, err := renew("free", map[string]string{"ThingName": "device-0001"})
	require.NoError(t, err)
	assert.Equal(t, "device-0001", renewed.ThingName)
}
