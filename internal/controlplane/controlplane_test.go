package controlplane_test

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/controlplane"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iotservice"
	"github.com/fleetprov/fleetprov/internal/testca"
)

const (
	trustsIoT    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"iot.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}}]}`
	trustsLambda = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com"]},"Action":["sts:AssumeRole"]}}`
	policy       = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}`
	template     = `{"Resources":{"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"}}}},"Parameters":{"AWS::IoT::Certificate::Id":{"Type":"String"}}}`
	thing        = `{"Parameters":{"Serial":{"Type":"String"}},"Resources":{"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"Serial"},"AttributePayload":{"serial":{"Ref":"Serial"}}}}}}`
	register     = "arn:aws:iam::aws:policy/service-role/AWSIoTThingsRegistration"
	roleARN      = "arn:aws:iam::123456789012:role/registers"
)

// plane is a control plane under test.
type plane struct {
	t        *testing.T
	handler  *controlplane.Plane
	registry *iotregistry.Registry
	service  *iotservice.Service
	updated  []string // ids of certificates
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, handler: controlplane.New(), registry: iotregistry.New(time.Now)}
	p.service = iotservice.New(p.registry, iotservice.Settings{CA: testca.New("root"), Now: time.Now, Account: p.handler})
	p.handler.Serve(controlplane.Account{
		Registry: p.registry,
		Service:  p.service,
		Endpoint: "localhost:8883",
		Now:      time.Now,
		Logger:   slog.New(slog.DiscardHandler),
		Updated:  func(id string) { p.updated = append(p.updated, id) },
	})
	t.Cleanup(func() {
		p.service.Stop()
		p.handler.Close()
		p.service.Wait()
	})
	return p
}

type answer struct {
	status int
	kind   string // of the error
	text   string
	json   map[string]any
}

// ask sends a request. A body that begins with Action= is a form. headers are names and
// values.
func (p *plane) ask(method, path, body string, headers ...string) answer {
	p.t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if strings.HasPrefix(body, "Action=") {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Host = "127.0.0.1:8080"
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iot/aws4_request, Signature=0")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, request)
	a := answer{status: recorder.Code, kind: recorder.Header().Get("X-Amzn-Errortype"), text: recorder.Body.String()}
	if recorder.Header().Get("Content-Type") == "application/json" && recorder.Body.Len() > 0 {
		require.NoError(p.t, json.Unmarshal(recorder.Body.Bytes(), &a.json))
	} else if _, code, found := strings.Cut(a.text, "<Code>"); found {
		a.kind, _, _ = strings.Cut(code, "</Code>")
	}
	return a
}

// do is ask for what must succeed.
func (p *plane) do(method, path, body string, headers ...string) answer {
	p.t.Helper()
	a := p.ask(method, path, body, headers...)
	require.Less(p.t, a.status, 300, "%s %s: %s", method, path, a.text)
	return a
}

// iam is a request to IAM, of names and values.
func iam(action string, parameters ...string) string {
	form := "Action=" + action + "&Version=2010-05-08"
	for i := 0; i < len(parameters); i += 2 {
		form += "&" + parameters[i] + "=" + url.QueryEscape(parameters[i+1])
	}
	return form
}

func object(members ...any) string {
	all := make(map[string]any)
	for i := 0; i < len(members); i += 2 {
		all[members[i].(string)] = members[i+1]
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// withRoles makes two roles: registers, for templates, and runs, for functions.
func (p *plane) withRoles() *plane {
	p.t.Helper()
	p.do("POST", "/", iam("CreateRole", "RoleName", "registers", "AssumeRolePolicyDocument", trustsIoT))
	p.do("POST", "/", iam("AttachRolePolicy", "RoleName", "registers", "PolicyArn", register))
	p.do("POST", "/", iam("CreateRole", "RoleName", "runs", "AssumeRolePolicyDocument", trustsLambda))
	return p
}

func (p *plane) createTemplate(name, body string, more ...any) answer {
	p.t.Helper()
	return p.ask("POST", "/provisioning-templates", object(append([]any{
		"templateName", name, "templateBody", body, "provisioningRoleArn", roleARN, "enabled", true}, more...)...))
}

// withThing registers a thing, and returns the id of its certificate.
func (p *plane) withThing(name string) string {
	p.t.Helper()
	require.NoError(p.t, p.registry.AddTemplate("things", thing))
	c, _, rejection := p.service.CreateFromCSR(csr(p.t))
	require.Nil(p.t, rejection)
	t, rejection := p.service.Template("things")
	require.Nil(p.t, rejection)
	_, rejection = p.service.Register(iotservice.Caller{}, t, c.Token, map[string]string{"Serial": name})
	require.Nil(p.t, rejection)
	return c.ID
}

func csr(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func certificateARN(id string) string { return "arn:aws:iot:us-east-1:123456789012:cert/" + id }

// What an operator reads of a function is what the next change is made of.
func TestFunctionsAreReadAndChanged(t *testing.T) {
	p := newPlane(t).withRoles()
	const function, path = "/2015-03-31/functions", "/2015-03-31/functions/f"
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	_, err := w.Create("f.js")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	code := base64.StdEncoding.EncodeToString(archive.Bytes())
	p.do("POST", function, object("FunctionName", "f", "Runtime", "nodejs22.x", "Handler", "f.g", "Role", "arn:aws:iam::123456789012:role/runs",
		"Code", map[string]string{"ZipFile": code}))

	location, err := url.Parse(p.do("GET", path, "").json["Code"].(map[string]any)["Location"].(string))
	require.NoError(t, err)
	assert.Equal(t, archive.String(), p.do("GET", location.Path, "").text)
	assert.Equal(t, 404, p.ask("GET", location.Path+"x", "").status)

	changed := p.do("PUT", path+"/configuration", object("Timeout", 5, "Environment", map[string]any{"Variables": map[string]string{"A": "1"}})).json
	assert.Equal(t, 5.0, changed["Timeout"])
	assert.Equal(t, "f.g", changed["Handler"], "what is not named stays")
	assert.Equal(t, map[string]any{"Variables": map[string]any{"A": "1"}}, changed["Environment"])
	refused := p.ask("PUT", path+"/configuration", object("Role", roleARN))
	assert.Equal(t, "InvalidParameterValueException", refused.kind, "AWS Lambda may not take that role")

	p.do("PUT", path+"/code", object("ZipFile", code, "RevisionId", changed["RevisionId"]))
	refused = p.ask("PUT", path+"/code", object("ZipFile", code, "RevisionId", changed["RevisionId"]))
	assert.Equal(t, "PreconditionFailedException", refused.kind)
	assert.Equal(t, 412, refused.status)
}

func TestOneOfManyUpdatesAtOnceWins(t *testing.T) {
	t.Setenv("PATH", "") // no process need be started: unpacking takes long enough
	p := newPlane(t).withRoles()
	code := base64.StdEncoding.EncodeToString(archive(t, "f.py", strings.Repeat("#", 4<<20)))
	made := p.do("POST", "/2015-03-31/functions", object("FunctionName", "f", "Runtime", "python3.13", "Handler", "f.g", "Role", "arn:aws:iam::123456789012:role/runs",
		"Code", map[string]string{"ZipFile": code})).json
	const writers = 5
	answers := make(chan answer, writers)
	for range writers {
		go func() {
			answers <- p.ask("PUT", "/2015-03-31/functions/f/code", object("ZipFile", code, "RevisionId", made["RevisionId"]))
		}()
	}
	won := 0
	for range writers {
		if a := <-answers; a.status == http.StatusOK {
			won++
		} else {
			assert.Equal(t, "PreconditionFailedException", a.kind)
		}
	}
	assert.Equal(t, 1, won)
}

func TestThingsAreFoundByAttributeAndType(t *testing.T) {
	p := newPlane(t)
	p.withThing("pump-1")
	p.withThing("pump-2")
	p.withThing("fan-1")
	for query, want := range map[string][]string{
		"": {"fan-1", "pump-1", "pump-2"},
		"attributeName=serial&attributeValue=pump-1":                            {"pump-1"},
		"attributeName=serial&attributeValue=pump":                              nil,
		"attributeName=serial&attributeValue=pump&usePrefixAttributeValue=true": {"pump-1", "pump-2"},
		"attributeName=other&attributeValue=":                                   nil,
		"thingTypeName=pump":                                                    nil,
	} {
		var names []string
		for _, found := range p.do("GET", "/things?"+query, "").json["things"].([]any) {
			names = append(names, found.(map[string]any)["thingName"].(string))
		}
		assert.Equal(t, want, names, query)
	}
	assert.Equal(t, "InvalidRequestException", p.ask("GET", "/things?attributeValue=x", "").kind)
}

// The errors are those of AWS's service models, the words those that AWS was seen to use.
func TestRefusals(t *testing.T) {
	absent := strings.Repeat("0", 64)
	p := newPlane(t).withRoles()
	require.Equal(t, 200, p.createTemplate("fleet", template).status)
	p.do("POST", "/policies/p", object("policyDocument", policy))
	active := p.do("POST", "/certificates?setAsActive=true", object("certificateSigningRequest", csr(t))).json["certificateId"].(string)
	attached := p.do("POST", "/certificates", object("certificateSigningRequest", csr(t))).json["certificateId"].(string)
	p.do("PUT", "/target-policies/p", object("target", certificateARN(attached)))
	ofThing := p.withThing("device")
	p.do("PUT", "/certificates/"+ofThing+"?newStatus=INACTIVE", "")
	p.do("PUT", "/things/device/principals", "", "x-amzn-principal", certificateARN(active))
	own := testca.New("own").Client("device", testca.Validity{})
	ownPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Leaf.Raw}))
	p.do("POST", "/certificate/register-no-ca", object("certificatePem", ownPEM))
	code := base64.StdEncoding.EncodeToString(archive(t, "f.py", ""))
	createFunction := func(name, runtime, role, zip string) string {
		return object("FunctionName", name, "Runtime", runtime, "Handler", "f.g", "Role", role, "Code", map[string]string{"ZipFile": zip})
	}
	const runs, functions = "arn:aws:iam::123456789012:role/runs", "/2015-03-31/functions"
	p.do("POST", functions, createFunction("f", "nodejs22.x", runs, code))
	p.do("POST", functions+"/f/policy", object("StatementId", "s", "Action", "lambda:InvokeFunction", "Principal", "iot.amazonaws.com"))

	for _, test := range []struct {
		name, method, path, body string
		status                   int
		kind, says               string
		headers                  []string
	}{
		{"no such operation", "GET", "/nothing", "", 404, "UnknownOperationException", "GET /nothing", nil},
		{"no such action", "POST", "/", "Action=Nothing&Version=2010-05-08", 400, "InvalidAction", "Nothing", nil},
		{"a body that is not JSON", "POST", "/provisioning-templates", "{", 400, "InvalidRequestException", "not a JSON object", nil},
		{"a body that is not an object", "POST", "/provisioning-templates", "[]", 400, "InvalidRequestException", "not a JSON object", nil},

		{"a function with a name that is too long", "POST", functions, createFunction(strings.Repeat("f", 65), "nodejs22.x", runs, code), 400, "InvalidParameterValueException", "at 'FunctionName' failed to satisfy constraint: Member must have length less than or equal to 64", nil},
		{"a template without anything", "POST", "/provisioning-templates", "{}", 400, "InvalidRequestException", "3 validation errors detected: Value null at 'templateName' failed to satisfy constraint: Member must not be null", nil},
		{"a template with a name that is too long", "POST", "/provisioning-templates", object("templateName", strings.Repeat("a", 37), "templateBody", template, "provisioningRoleArn", roleARN), 400, "InvalidRequestException", "at 'templateName' failed to satisfy constraint: Member must have length less than or equal to 36", nil},
		{"a template with an empty name", "POST", "/provisioning-templates", object("templateName", "", "templateBody", template, "provisioningRoleArn", roleARN), 400, "InvalidRequestException", "greater than or equal to 1", nil},
		{"a template with a name that has a space", "POST", "/provisioning-templates", object("templateName", "a b", "templateBody", template, "provisioningRoleArn", roleARN), 400, "InvalidRequestException", "must satisfy regular expression pattern", nil},
		{"a template with a number for a name", "POST", "/provisioning-templates", object("templateName", 1, "templateBody", template, "provisioningRoleArn", roleARN), 400, "InvalidRequestException", "'templateName' has the wrong type", nil},
		{"a template with a word for a flag", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN, "enabled", "maybe"), 400, "InvalidRequestException", "'enabled' has the wrong type", nil},
		{"a template with a hook without target", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN, "preProvisioningHook", map[string]string{}), 400, "InvalidRequestException", "null at 'preProvisioningHook.targetArn'", nil},
		{"a template with a hook that is not there", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN, "preProvisioningHook", map[string]string{"targetArn": "arn:aws:lambda:us-east-1:123456789012:function:g"}), 400, "InvalidRequestException", "there is no function", nil},
		{"a template with a hook that is none", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN, "preProvisioningHook", map[string]string{"targetArn": roleARN}), 400, "InvalidRequestException", "is not the ARN of a function", nil},
		{"a template with a body that is none", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", "{}", "provisioningRoleArn", roleARN), 400, "InvalidRequestException", "template a: ", nil},
		{"a template with a role that is not there", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN+"x"), 400, "InvalidRequestException", "there is no such role", nil},
		{"a template with a role of Lambda", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", runs), 400, "InvalidRequestException", "does not let iot.amazonaws.com take it", nil},
		{"a template with a role of another account", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", "arn:aws:iam::210987654321:role/registers"), 400, "InvalidRequestException", "is not the ARN of a role in the account", nil},
		{"a template for JITP", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN, "type", "JITP"), 400, "InvalidRequestException", "JITP", nil},
		{"a template of a type that is none", "POST", "/provisioning-templates", object("templateName", "a", "templateBody", template, "provisioningRoleArn", roleARN, "type", "OTHER"), 400, "InvalidRequestException", "must satisfy enum value set", nil},
		{"a template that exists", "POST", "/provisioning-templates", object("templateName", "fleet", "templateBody", template, "provisioningRoleArn", roleARN), 409, "ResourceAlreadyExistsException", "fleet", nil},
		{"description of no template", "GET", "/provisioning-templates/a", "", 404, "ResourceNotFoundException", "a not found", nil},
		{"change of no template", "PATCH", "/provisioning-templates/a", "{}", 404, "ResourceNotFoundException", "a not found", nil},
		{"change to no version", "PATCH", "/provisioning-templates/fleet", `{"defaultVersionId":7}`, 404, "ResourceNotFoundException", "Version 7", nil},
		{"change to no role", "PATCH", "/provisioning-templates/fleet", object("provisioningRoleArn", roleARN+"x"), 400, "InvalidRequestException", "there is no such role", nil},
		{"a hook set and removed", "PATCH", "/provisioning-templates/fleet", object("removePreProvisioningHook", true, "preProvisioningHook", map[string]string{"targetArn": "a"}), 400, "InvalidRequestException", "at once", nil},
		{"deletion of no template", "DELETE", "/provisioning-templates/a", "", 404, "ResourceNotFoundException", "a not found", nil},
		{"a version of no template", "POST", "/provisioning-templates/a/versions", object("templateBody", template), 404, "ResourceNotFoundException", "a not found", nil},
		{"a version without body", "POST", "/provisioning-templates/fleet/versions", "{}", 400, "InvalidRequestException", "null at 'templateBody'", nil},
		{"a version with a body that is none", "POST", "/provisioning-templates/fleet/versions", object("templateBody", "{}"), 400, "InvalidRequestException", "template fleet: ", nil},
		{"description of no version", "GET", "/provisioning-templates/fleet/versions/2", "", 404, "ResourceNotFoundException", "Version 2", nil},
		{"description of a version without number", "GET", "/provisioning-templates/fleet/versions/a", "", 400, "InvalidRequestException", "'versionId' has the wrong type", nil},
		{"versions of no template", "GET", "/provisioning-templates/a/versions", "", 404, "ResourceNotFoundException", "a not found", nil},
		{"deletion of no version", "DELETE", "/provisioning-templates/fleet/versions/2", "", 404, "ResourceNotFoundException", "Version 2", nil},
		{"deletion of the default version", "DELETE", "/provisioning-templates/fleet/versions/1", "", 409, "DeleteConflictException", "default version", nil},
		{"a claim for no template", "POST", "/provisioning-templates/a/provisioning-claim", "", 404, "ResourceNotFoundException", "a not found", nil},
		{"too many templates a page", "GET", "/provisioning-templates?maxResults=251", "", 400, "InvalidRequestException", "between 1 and 250", nil},
		{"a page that is none", "GET", "/provisioning-templates?nextToken=%3D", "", 400, "InvalidRequestException", "marker", nil},

		{"a CSR that is none", "POST", "/certificates", object("certificateSigningRequest", "x"), 400, "InvalidRequestException", "is not PEM", nil},
		{"a CSR that is too long", "POST", "/certificates", object("certificateSigningRequest", strings.Repeat("x", 4097)), 400, "InvalidRequestException", "less than or equal to 4096", nil},
		{"registration of no certificate", "POST", "/certificate/register", object("certificatePem", "x"), 400, "CertificateValidationException", "not PEM", nil},
		{"registration of what cannot be parsed", "POST", "/certificate/register", object("certificatePem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 400, "CertificateValidationException", "cannot be parsed", nil},
		{"registration of a certificate that is registered", "POST", "/certificate/register-no-ca", object("certificatePem", ownPEM), 409, "ResourceAlreadyExistsException", "already registered", nil},
		{"registration as REVOKED", "POST", "/certificate/register-no-ca", object("certificatePem", ownPEM, "status", "REVOKED"), 400, "InvalidRequestException", "REVOKED", nil},
		{"description of no certificate", "GET", "/certificates/" + absent, "", 404, "ResourceNotFoundException", absent, nil},
		{"description of an id that is none", "GET", "/certificates/abc", "", 400, "InvalidRequestException", "greater than or equal to 64", nil},
		{"change of no certificate", "PUT", "/certificates/" + absent + "?newStatus=INACTIVE", "", 404, "ResourceNotFoundException", absent, nil},
		{"change without status", "PUT", "/certificates/" + active, "", 400, "InvalidRequestException", "null at 'newStatus'", nil},
		{"change to a status that is none", "PUT", "/certificates/" + active + "?newStatus=GONE", "", 400, "InvalidRequestException", "must satisfy enum value set", nil},
		{"change to a status that cannot be set", "PUT", "/certificates/" + active + "?newStatus=PENDING_ACTIVATION", "", 400, "InvalidRequestException", "cannot be set", nil},
		{"deletion of no certificate", "DELETE", "/certificates/" + absent, "", 404, "ResourceNotFoundException", absent, nil},
		{"deletion of an active certificate", "DELETE", "/certificates/" + active, "", 406, "CertificateStateException", "Certificate must be deactivated (not ACTIVE) before deletion. Id: " + active, nil},
		{"deletion of a certificate with a policy", "DELETE", "/certificates/" + attached, "", 409, "DeleteConflictException", "policies must be detached", nil},
		{"deletion of a certificate of a thing", "DELETE", "/certificates/" + ofThing + "?forceDelete=true", "", 409, "DeleteConflictException", "Things must be detached", nil},
		{"certificates after a marker that is none", "GET", "/certificates?marker=!", "", 400, "InvalidRequestException", "at 'marker'", nil},

		{"a policy without document", "POST", "/policies/q", "{}", 400, "InvalidRequestException", "null at 'policyDocument'", nil},
		{"a policy that is none", "POST", "/policies/q", object("policyDocument", "{}"), 400, "MalformedPolicyException", "policy q", nil},
		{"a policy with a name that is none", "POST", "/policies/a%20b", object("policyDocument", policy), 400, "InvalidRequestException", "at 'policyName'", nil},
		{"a policy that exists", "POST", "/policies/p", object("policyDocument", policy), 409, "ResourceAlreadyExistsException", "(name=p)", nil},
		{"no policy", "GET", "/policies/q", "", 404, "ResourceNotFoundException", "(name=q)", nil},
		{"deletion of no policy", "DELETE", "/policies/q", "", 404, "ResourceNotFoundException", "(name=q)", nil},
		{"deletion of an attached policy", "DELETE", "/policies/p", "", 409, "DeleteConflictException", "attached to one or more principals (name=p)", nil},
		{"a version of no policy", "POST", "/policies/q/version", object("policyDocument", policy), 404, "ResourceNotFoundException", "(name=q)", nil},
		{"a version that is none", "POST", "/policies/p/version", object("policyDocument", "{}"), 400, "MalformedPolicyException", "policy p", nil},
		{"no version", "GET", "/policies/p/version/2", "", 404, "ResourceNotFoundException", "version=2", nil},
		{"a version that is no number", "GET", "/policies/p/version/a", "", 400, "InvalidRequestException", "at 'policyVersionId'", nil},
		{"versions of no policy", "GET", "/policies/q/version", "", 404, "ResourceNotFoundException", "(name=q)", nil},
		{"no version made the default", "PATCH", "/policies/p/version/2", "", 404, "ResourceNotFoundException", "version=2", nil},
		{"deletion of the policy's default version", "DELETE", "/policies/p/version/1", "", 409, "DeleteConflictException", "default version", nil},
		{"deletion of no version of a policy", "DELETE", "/policies/p/version/2", "", 404, "ResourceNotFoundException", "version=2", nil},
		{"no policy attached", "PUT", "/target-policies/q", object("target", certificateARN(active)), 404, "ResourceNotFoundException", "(name=q)", nil},
		{"a policy attached to nothing", "PUT", "/target-policies/p", object("target", certificateARN(absent)), 404, "ResourceNotFoundException", absent, nil},
		{"a policy attached to no ARN", "PUT", "/target-policies/p", object("target", active), 400, "InvalidRequestException", "is not the ARN of a certificate", nil},
		{"a policy attached in another account", "PUT", "/target-policies/p", object("target", "arn:aws:iot:us-east-1::cert/"+active), 400, "InvalidRequestException", "is not the ARN of a certificate", nil},
		{"a policy attached without target", "PUT", "/target-policies/p", "{}", 400, "InvalidRequestException", "null at 'target'", nil},
		{"a policy detached from no ARN", "POST", "/target-policies/p", object("target", "x"), 400, "InvalidRequestException", "is not the ARN of a certificate", nil},
		{"policies of nothing", "POST", "/attached-policies/" + url.PathEscape(certificateARN(absent)), "", 404, "ResourceNotFoundException", absent, nil},
		{"targets of no policy", "POST", "/policy-targets/q", "", 404, "ResourceNotFoundException", "(name=q)", nil},

		{"no thing attached", "PUT", "/things/x/principals", "", 404, "ResourceNotFoundException", "Thing x", []string{"x-amzn-principal", certificateARN(active)}},
		{"a thing attached to nothing", "PUT", "/things/device/principals", "", 400, "InvalidRequestException", "null at 'principal'", nil},
		{"a thing attached to no certificate", "PUT", "/things/device/principals", "", 404, "ResourceNotFoundException", absent, []string{"x-amzn-principal", certificateARN(absent)}},
		{"no thing detached", "DELETE", "/things/x/principals", "", 404, "ResourceNotFoundException", "Thing x", []string{"x-amzn-principal", certificateARN(active)}},
		{"principals of no thing", "GET", "/things/x/principals", "", 404, "ResourceNotFoundException", "Thing x", nil},
		{"things of no principal", "GET", "/principals/things", "", 404, "ResourceNotFoundException", absent, []string{"x-amzn-principal", certificateARN(absent)}},
		{"no thing", "GET", "/things/x", "", 404, "ResourceNotFoundException", "Thing x", nil},
		{"a thing with a name that is none", "GET", "/things/a%2Fb", "", 400, "InvalidRequestException", "at 'thingName'", nil},
		{"deletion of no thing", "DELETE", "/things/x", "", 404, "ResourceNotFoundException", "Thing x", nil},
		{"deletion of a thing with a certificate", "DELETE", "/things/device", "", 400, "InvalidRequestException", "Cannot delete. Thing device is still attached to one or more principals", nil},
		{"an endpoint of another kind", "GET", "/endpoint?endpointType=iot:Jobs", "", 400, "InvalidRequestException", "iot:Jobs", nil},

		{"a role without trust", "POST", "/", iam("CreateRole", "RoleName", "r"), 400, "ValidationError", "null at &#39;AssumeRolePolicyDocument&#39;", nil},
		{"a role with a trust that is none", "POST", "/", iam("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", "x"), 400, "MalformedPolicyDocument", "JSON", nil},
		{"a role with a trust without statement", "POST", "/", iam("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", "{}"), 400, "MalformedPolicyDocument", "no statement", nil},
		{"a role with a name that is none", "POST", "/", iam("CreateRole", "RoleName", "a b", "AssumeRolePolicyDocument", trustsIoT), 400, "ValidationError", "RoleName", nil},
		{"a role that exists", "POST", "/", iam("CreateRole", "RoleName", "runs", "AssumeRolePolicyDocument", trustsIoT), 409, "EntityAlreadyExists", "runs", nil},
		{"no role", "POST", "/", iam("GetRole", "RoleName", "r"), 404, "NoSuchEntity", "The role with name r cannot be found.", nil},
		{"deletion of no role", "POST", "/", iam("DeleteRole", "RoleName", "r"), 404, "NoSuchEntity", "r", nil},
		{"deletion of a role with a policy", "POST", "/", iam("DeleteRole", "RoleName", "registers"), 409, "DeleteConflict", "must detach all policies first", nil},
		{"the trust of no role", "POST", "/", iam("UpdateAssumeRolePolicy", "RoleName", "r", "PolicyDocument", trustsIoT), 404, "NoSuchEntity", "r", nil},
		{"a trust that is none", "POST", "/", iam("UpdateAssumeRolePolicy", "RoleName", "runs", "PolicyDocument", "x"), 400, "MalformedPolicyDocument", "JSON", nil},
		{"a policy of no role", "POST", "/", iam("AttachRolePolicy", "RoleName", "r", "PolicyArn", register), 404, "NoSuchEntity", "r", nil},
		{"no policy of AWS", "POST", "/", iam("AttachRolePolicy", "RoleName", "runs", "PolicyArn", "arn:aws:iam::123456789012:policy/mine"), 404, "NoSuchEntity", "does not exist", nil},
		{"a policy that is not attached", "POST", "/", iam("DetachRolePolicy", "RoleName", "runs", "PolicyArn", register), 404, "NoSuchEntity", "was not found", nil},
		{"policies of no role", "POST", "/", iam("ListAttachedRolePolicies", "RoleName", "r"), 404, "NoSuchEntity", "r", nil},
		{"an inline policy that is none", "POST", "/", iam("PutRolePolicy", "RoleName", "runs", "PolicyName", "p", "PolicyDocument", "x"), 400, "MalformedPolicyDocument", "JSON", nil},
		{"no inline policy", "POST", "/", iam("GetRolePolicy", "RoleName", "runs", "PolicyName", "p"), 404, "NoSuchEntity", "p", nil},
		{"deletion of no inline policy", "POST", "/", iam("DeleteRolePolicy", "RoleName", "runs", "PolicyName", "p"), 404, "NoSuchEntity", "p", nil},
		{"inline policies of no role", "POST", "/", iam("ListRolePolicies", "RoleName", "r"), 404, "NoSuchEntity", "r", nil},

		{"a function without anything", "POST", functions, "{}", 400, "InvalidParameterValueException", "3 validation errors detected", nil},
		{"a function with a role of AWS IoT", "POST", functions, createFunction("g", "python3.13", roleARN, code), 400, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.", nil},
		{"a function that is no archive", "POST", functions, createFunction("g", "python3.13", runs, "AAAA"), 400, "InvalidParameterValueException", "Could not unzip uploaded file.", nil},
		{"a function that leaves its directory", "POST", functions, createFunction("g", "python3.13", runs, base64.StdEncoding.EncodeToString(archive(t, "../f.py", ""))), 400, "InvalidParameterValueException", "outside of the archive", nil},
		{"a function that is not base64", "POST", functions, createFunction("g", "python3.13", runs, "!"), 400, "InvalidParameterValueException", "'Code.ZipFile' has the wrong type", nil},
		{"a function that exists", "POST", functions, createFunction("f", "python3.13", runs, code), 409, "ResourceConflictException", "Function already exist: f", nil},
		{"a function without handler", "POST", functions, object("FunctionName", "g", "Runtime", "python3.13", "Role", runs, "Code", map[string]string{"ZipFile": code}), 400, "InvalidParameterValueException", "Handler is mandatory", nil},
		{"a function without runtime", "POST", functions, object("FunctionName", "g", "Handler", "f.g", "Role", runs, "Code", map[string]string{"ZipFile": code}), 400, "InvalidParameterValueException", "Runtime is mandatory", nil},
		{"a function in an image", "POST", functions, object("FunctionName", "g", "PackageType", "Image", "Role", runs, "Code", map[string]string{}), 400, "InvalidParameterValueException", "ZIP", nil},
		{"no function", "GET", functions + "/g", "", 404, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:123456789012:function:g", nil},
		{"no function's configuration", "GET", functions + "/g/configuration", "", 404, "ResourceNotFoundException", "Function not found", nil},
		{"code for no function", "PUT", functions + "/g/code", object("ZipFile", code), 404, "ResourceNotFoundException", "Function not found", nil},
		{"code that is none", "PUT", functions + "/f/code", object("ZipFile", "AAAA"), 400, "InvalidParameterValueException", "Could not unzip", nil},
		{"deletion of no function", "DELETE", functions + "/g", "", 404, "ResourceNotFoundException", "Function not found", nil},
		{"a permission for no function", "POST", functions + "/g/policy", object("StatementId", "s", "Action", "lambda:InvokeFunction", "Principal", "iot.amazonaws.com"), 404, "ResourceNotFoundException", "Function not found", nil},
		{"a permission without principal", "POST", functions + "/f/policy", object("StatementId", "t", "Action", "lambda:InvokeFunction"), 400, "InvalidParameterValueException", "null at 'Principal'", nil},
		{"a permission that exists", "POST", functions + "/f/policy", object("StatementId", "s", "Action", "lambda:InvokeFunction", "Principal", "iot.amazonaws.com"), 409, "ResourceConflictException", "The statement id (s) provided already exists.", nil},
		{"a permission for another action", "POST", functions + "/f/policy", object("StatementId", "t", "Action", "iot:Connect", "Principal", "iot.amazonaws.com"), 400, "InvalidParameterValueException", "at 'Action'", nil},
		{"permissions of no function", "GET", functions + "/g/policy", "", 404, "ResourceNotFoundException", "Function not found", nil},
		{"no permission", "DELETE", functions + "/f/policy/t", "", 404, "ResourceNotFoundException", "Statement t is not found", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := p.ask(test.method, test.path, test.body, test.headers...)
			assert.Equal(t, test.status, a.status, a.text)
			assert.Equal(t, test.kind, a.kind)
			said := a.text
			if a.json != nil {
				said = a.json["message"].(string)
			}
			assert.Contains(t, said, test.says)
		})
	}
}

// archive is a ZIP archive with one file.
func archive(t *testing.T, name, content string) []byte {
	t.Helper()
	var packed bytes.Buffer
	writer := zip.NewWriter(&packed)
	file, err := writer.Create(name)
	require.NoError(t, err)
	_, err = file.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	return packed.Bytes()
}

func TestTemplatesAndTheirVersions(t *testing.T) {
	p := newPlane(t).withRoles()
	made := p.createTemplate("fleet", template, "description", "of tests")
	assert.Equal(t, map[string]any{"templateArn": "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/fleet", "templateName": "fleet", "defaultVersionId": 1.0}, made.json)
	described := p.do("GET", "/provisioning-templates/fleet", "").json
	assert.InDelta(t, time.Now().Unix(), described["creationDate"], 100)
	for name, want := range map[string]any{"templateBody": template, "enabled": true, "provisioningRoleArn": roleARN, "description": "of tests", "type": "FLEET_PROVISIONING", "defaultVersionId": 1.0} {
		assert.Equal(t, want, described[name], name)
	}
	assert.NotContains(t, described, "preProvisioningHook")

	for id := 2; id <= 5; id++ {
		v := p.do("POST", "/provisioning-templates/fleet/versions", object("templateBody", thing)).json
		assert.Equal(t, []any{float64(id), false}, []any{v["versionId"], v["isDefaultVersion"]})
	}
	sixth := p.ask("POST", "/provisioning-templates/fleet/versions", object("templateBody", thing))
	assert.Equal(t, 409, sixth.status)
	assert.Equal(t, "VersionsLimitExceededException", sixth.kind)
	p.do("DELETE", "/provisioning-templates/fleet/versions/5", "")
	v := p.do("POST", "/provisioning-templates/fleet/versions?setAsDefault=true", object("templateBody", thing)).json
	assert.Equal(t, []any{5.0, true}, []any{v["versionId"], v["isDefaultVersion"]})
	assert.Equal(t, thing, p.do("GET", "/provisioning-templates/fleet", "").json["templateBody"])
	assert.Equal(t, template, p.do("GET", "/provisioning-templates/fleet/versions/1", "").json["templateBody"])
	p.do("PATCH", "/provisioning-templates/fleet", `{"defaultVersionId":1,"enabled":false,"description":""}`)
	described = p.do("GET", "/provisioning-templates/fleet", "").json
	assert.Equal(t, []any{template, false, ""}, []any{described["templateBody"], described["enabled"], described["description"]})

	first := p.do("GET", "/provisioning-templates/fleet/versions?maxResults=3", "").json
	rest := p.do("GET", "/provisioning-templates/fleet/versions?nextToken="+url.QueryEscape(first["nextToken"].(string)), "").json
	assert.Len(t, first["versions"], 3)
	assert.Len(t, rest["versions"], 2)
	assert.NotContains(t, rest, "nextToken")

	p.do("DELETE", "/provisioning-templates/fleet", "")
	assert.Equal(t, map[string]any{"templates": []any{}}, p.do("GET", "/provisioning-templates", "").json)
	_, rejection := p.service.Template("fleet")
	require.NotNil(t, rejection)
	assert.Equal(t, 404, rejection.StatusCode)
}

func TestCertificates(t *testing.T) {
	p := newPlane(t)
	made := p.do("POST", "/keys-and-certificate?setAsActive=true", "").json
	id := made["certificateId"].(string)
	assert.Equal(t, certificateARN(id), made["certificateArn"])
	key, _ := pem.Decode([]byte(made["keyPair"].(map[string]any)["PrivateKey"].(string)))
	private, err := x509.ParsePKCS1PrivateKey(key.Bytes)
	require.NoError(t, err)
	public, _ := pem.Decode([]byte(made["keyPair"].(map[string]any)["PublicKey"].(string)))
	parsed, err := x509.ParsePKIXPublicKey(public.Bytes)
	require.NoError(t, err)
	assert.True(t, private.PublicKey.Equal(parsed))
	assert.Equal(t, "ACTIVE", p.registry.Status(id))

	fromCSR := p.do("POST", "/certificates", object("certificateSigningRequest", csr(t))).json["certificateId"].(string)
	assert.Equal(t, "INACTIVE", p.registry.Status(fromCSR))
	own := testca.New("own").Client("device", testca.Validity{})
	registered := p.do("POST", "/certificate/register", object("certificatePem", iotservice.CertificatePEM(own.Leaf), "status", "ACTIVE")).json["certificateId"].(string)
	assert.Equal(t, iotregistry.CertificateID(own.Leaf), registered)
	assert.Equal(t, "ACTIVE", p.registry.Status(registered))

	described := p.do("GET", "/certificates/"+strings.ToUpper(registered), "").json["certificateDescription"].(map[string]any)
	assert.Equal(t, iotservice.CertificatePEM(own.Leaf), described["certificatePem"])
	assert.Equal(t, float64(own.Leaf.NotAfter.Unix()), described["validity"].(map[string]any)["notAfter"])
	ids := func(path string) (ids []string) {
		for _, c := range p.do("GET", path, "").json["certificates"].([]any) {
			ids = append(ids, c.(map[string]any)["certificateId"].(string))
		}
		return ids
	}
	assert.Equal(t, []string{id, fromCSR, registered}, ids("/certificates?isAscendingOrder=true"))
	assert.Equal(t, []string{registered, fromCSR, id}, ids("/certificates?isAscendingOrder=false"))

	p.do("PUT", "/certificates/"+strings.ToUpper(id)+"?newStatus=REVOKED", "")
	assert.Equal(t, []string{id}, p.updated)
	p.do("DELETE", "/certificates/"+id, "")
	assert.Empty(t, p.registry.Status(id))
}

// A page begins behind the last item of the one before, whatever was deleted meanwhile.
func TestPagesPassNothingOver(t *testing.T) {
	p := newPlane(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		p.do("POST", "/policies/"+name, object("policyDocument", policy))
	}
	var seen []string
	for token := ""; ; {
		page := p.do("GET", "/policies?pageSize=2&isAscendingOrder=true"+token, "").json
		for _, found := range page["policies"].([]any) {
			name := found.(map[string]any)["policyName"].(string)
			seen = append(seen, name)
			p.do("DELETE", "/policies/"+name, "")
		}
		if page["nextMarker"] == nil {
			break
		}
		token = "&marker=" + url.QueryEscape(page["nextMarker"].(string))
	}
	assert.Equal(t, []string{"a", "b", "c", "d", "e"}, seen)
	assert.Empty(t, p.registry.Policies())
}

func TestPoliciesAndTheirVersions(t *testing.T) {
	p := newPlane(t)
	made := p.do("POST", "/policies/p", object("policyDocument", policy), "Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/eu-west-1/iot/aws4_request, Signature=0").json
	assert.Equal(t, map[string]any{"policyName": "p", "policyArn": "arn:aws:iot:eu-west-1:123456789012:policy/p", "policyDocument": policy, "policyVersionId": "1"}, made)
	second := p.do("POST", "/policies/p/version", object("policyDocument", strings.Replace(policy, "iot:Connect", "iot:Publish", 1))).json
	assert.Equal(t, []any{"2", false}, []any{second["policyVersionId"], second["isDefaultVersion"]})
	assert.Equal(t, policy, p.do("GET", "/policies/p", "").json["policyDocument"])
	p.do("PATCH", "/policies/p/version/2", "")
	assert.Equal(t, "2", p.do("GET", "/policies/p", "").json["defaultVersionId"])
	assert.Len(t, p.do("GET", "/policies/p/version", "").json["policyVersions"], 2)
	assert.Equal(t, []any{policy, false}, []any{p.do("GET", "/policies/p/version/1", "").json["policyDocument"], p.do("GET", "/policies/p/version/1", "").json["isDefaultVersion"]})
	conflict := p.ask("DELETE", "/policies/p", "")
	assert.Equal(t, "DeleteConflictException", conflict.kind)
	assert.Contains(t, conflict.text, "versions other than the default version")
	p.do("DELETE", "/policies/p/version/1", "")
	p.do("DELETE", "/policies/p", "")
	assert.Empty(t, p.registry.Policies())
}

func TestDetachingTakesAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		id := p.withThing("device")
		arn := certificateARN(id)
		p.do("POST", "/policies/p", object("policyDocument", policy))
		p.do("PUT", "/target-policies/p", object("target", arn))
		assert.Equal(t, []any{"device"}, p.do("GET", "/principals/things", "", "x-amzn-principal", arn).json["things"])
		assert.Equal(t, []any{arn}, p.do("GET", "/things/device/principals", "").json["principals"])
		assert.Equal(t, []any{arn}, p.do("POST", "/policy-targets/p", "").json["targets"])
		attached := func() any { return p.do("POST", "/attached-policies/"+url.PathEscape(arn), "").json["policies"] }
		assert.Len(t, attached(), 1)
		described := p.do("GET", "/things/device", "").json
		assert.Equal(t, []any{"device", map[string]any{"serial": "device"}}, []any{described["defaultClientId"], described["attributes"]})

		p.do("PUT", "/certificates/"+id+"?newStatus=INACTIVE", "")
		p.do("POST", "/target-policies/p", object("target", arn))
		p.do("PUT", "/target-policies/p", object("target", arn)) // takes it back
		time.Sleep(2 * time.Second)
		assert.Len(t, attached(), 1)

		p.do("POST", "/target-policies/p", object("target", arn))
		p.do("DELETE", "/things/device/principals", "", "x-amzn-principal", arn)
		assert.Equal(t, "DeleteConflictException", p.ask("DELETE", "/certificates/"+id, "").kind)
		assert.Equal(t, "DeleteConflictException", p.ask("DELETE", "/policies/p", "").kind)
		assert.Equal(t, 400, p.ask("DELETE", "/things/device", "").status)
		time.Sleep(time.Second)
		assert.Empty(t, attached())
		p.do("DELETE", "/certificates/"+id, "")
		p.do("DELETE", "/policies/p", "")
		p.do("DELETE", "/things/device", "")
		assert.Empty(t, p.do("GET", "/things", "").json["things"])

		p.do("POST", "/target-policies/p", object("target", certificateARN(p.withThing("device")))) // was not attached
	})
}

// exclusive-thing: with EXCLUSIVE_THING the thing is that of a connection under any client
// id, and the only one of the certificate.
func TestExclusiveThing(t *testing.T) {
	p := newPlane(t)
	p.withThing("pump")
	p.withThing("valve")
	p.do("POST", "/policies/p", object("policyDocument", policy))
	id := p.do("POST", "/certificates?setAsActive=true", object("certificateSigningRequest", csr(t))).json["certificateId"].(string)
	arn := certificateARN(id)
	p.do("PUT", "/target-policies/p", object("target", arn))

	p.do("PUT", "/things/pump/principals?thingPrincipalType=NON_EXCLUSIVE_THING", "", "x-amzn-principal", arn)
	access, err := p.registry.Access(id, "any")
	require.NoError(t, err)
	assert.NotContains(t, access.Variables, "iot:Connection.Thing.ThingName")

	p.do("PUT", "/things/pump/principals?thingPrincipalType=EXCLUSIVE_THING", "", "x-amzn-principal", arn)
	access, err = p.registry.Access(id, "any")
	require.NoError(t, err)
	assert.Equal(t, "pump", access.Variables["iot:Connection.Thing.ThingName"])

	second := p.ask("PUT", "/things/valve/principals", "", "x-amzn-principal", arn)
	assert.Equal(t, []any{400, "InvalidRequestException"}, []any{second.status, second.kind})
	assert.Contains(t, second.text, "attached to thing pump")
	assert.Equal(t, []any{"pump"}, p.do("GET", "/principals/things", "", "x-amzn-principal", arn).json["things"])

	other := p.ask("PUT", "/things/pump/principals?thingPrincipalType=OTHER", "", "x-amzn-principal", arn)
	assert.Equal(t, []any{400, "InvalidRequestException"}, []any{other.status, other.kind})
}

func TestRoles(t *testing.T) {
	p := newPlane(t)
	made := p.do("POST", "/", iam("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trustsIoT, "Path", "/fleet/", "MaxSessionDuration", "7200", "Description", "<of tests>")).text
	assert.Contains(t, made, "<CreateRoleResponse><CreateRoleResult><Role><Arn>arn:aws:iam::123456789012:role/fleet/r</Arn><AssumeRolePolicyDocument>%7B%22Version%22")
	assert.Contains(t, made, "<Description>&lt;of tests&gt;</Description><MaxSessionDuration>7200</MaxSessionDuration>")
	const arn = "arn:aws:iam::123456789012:role/fleet/r"
	assert.ErrorContains(t, p.handler.CheckRole(arn), "it has no right to register things")
	p.do("POST", "/", iam("AttachRolePolicy", "RoleName", "r", "PolicyArn", register))
	assert.NoError(t, p.handler.CheckRole(arn))
	assert.Contains(t, p.do("POST", "/", iam("ListAttachedRolePolicies", "RoleName", "r")).text, "<AttachedPolicies><member><PolicyArn>"+register+"</PolicyArn><PolicyName>AWSIoTThingsRegistration</PolicyName></member></AttachedPolicies>")
	p.do("POST", "/", iam("DetachRolePolicy", "RoleName", "r", "PolicyArn", register))
	p.do("POST", "/", iam("PutRolePolicy", "RoleName", "r", "PolicyName", "inline", "PolicyDocument", `{"Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}`))
	assert.NoError(t, p.handler.CheckRole(arn))
	assert.Contains(t, p.do("POST", "/", iam("ListRolePolicies", "RoleName", "r")).text, "<PolicyNames><member>inline</member></PolicyNames>")
	assert.Contains(t, p.do("POST", "/", iam("GetRolePolicy", "RoleName", "r", "PolicyName", "inline")).text, "<PolicyDocument>%7B%22Statement")
	p.do("POST", "/", iam("UpdateAssumeRolePolicy", "RoleName", "r", "PolicyDocument", trustsLambda))
	assert.ErrorContains(t, p.handler.CheckRole(arn), "does not let iot.amazonaws.com take it")
	assert.Contains(t, p.do("POST", "/", iam("GetRole", "RoleName", "r")).text, "lambda.amazonaws.com")
	assert.Equal(t, "DeleteConflict", p.ask("POST", "/", iam("DeleteRole", "RoleName", "r")).kind)
	p.do("POST", "/", iam("DeleteRolePolicy", "RoleName", "r", "PolicyName", "inline"))
	p.do("POST", "/", iam("DeleteRole", "RoleName", "r"))
	assert.ErrorContains(t, p.handler.CheckRole(arn), "there is no such role")

	identity := p.do("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15").text
	assert.Contains(t, identity, "<Account>123456789012</Account>")
}

func TestTrustDependsOnConditions(t *testing.T) {
	p := newPlane(t)
	for document, trusted := range map[string]bool{
		trustsIoT: true,
		strings.Replace(trustsIoT, "123456789012", "210987654321", 1):                                                         false,
		strings.Replace(trustsIoT, "StringEquals", "StringLike", 1):                                                           true,
		strings.Replace(trustsIoT, "aws:SourceAccount", "aws:PrincipalOrgID", 1):                                              false,
		strings.Replace(trustsIoT, "StringEquals", "IpAddress", 1):                                                            false,
		strings.Replace(trustsIoT, "Allow", "Deny", 1):                                                                        false,
		strings.Replace(trustsIoT, "sts:AssumeRole", "sts:TagSession", 1):                                                     false,
		strings.Replace(trustsIoT, `{"Service":"iot.amazonaws.com"}`, `"*"`, 1):                                               false,
		strings.Replace(trustsIoT, `"aws:SourceAccount":"123456789012"`, `"aws:SourceArn":"arn:aws:iot:*:123456789012:*"`, 1): true,
	} {
		p.do("POST", "/", iam("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", document))
		p.do("POST", "/", iam("AttachRolePolicy", "RoleName", "r", "PolicyArn", register))
		assert.Equal(t, trusted, p.handler.CheckRole("arn:aws:iam::123456789012:role/r") == nil, document)
		p.do("POST", "/", iam("DetachRolePolicy", "RoleName", "r", "PolicyArn", register))
		p.do("POST", "/", iam("DeleteRole", "RoleName", "r"))
	}
}

func TestClosedPlaneAnswers503(t *testing.T) {
	p := newPlane(t)
	p.handler.Close()
	assert.Equal(t, http.StatusServiceUnavailable, p.ask("GET", "/policies", "").status)
}

// A web page in a browser on this machine must not make functions.
func TestRequestsOfWebPagesAreRefused(t *testing.T) {
	p := newPlane(t)
	for _, test := range []struct {
		name, header, value string
		status              int
	}{
		{"another program", "", "", 200},
		{"a web page", "Origin", "https://example.com", 403},
		{"a page without an origin", "Origin", "null", 403},
		{"no signature", "Authorization", "", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := httptest.NewRequest("GET", "/policies", nil)
			request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iot/aws4_request, Signature=0")
			if test.header != "" {
				request.Header.Set(test.header, test.value)
			}
			recorder := httptest.NewRecorder()
			p.handler.ServeHTTP(recorder, request)
			assert.Equal(t, test.status, recorder.Code, recorder.Body)
		})
	}
}
