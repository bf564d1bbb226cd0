package operator_test

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/operator"
)

// mistake is made in an account that was sound.
type mistake struct {
	name    string
	make    func(b breaker)
	examine operator.Examination
	found   []string // what the findings contain, in their order
}

var mistakes = []mistake{
	{name: "none"},
	{
		name:  "the template is disabled",
		make:  func(b breaker) { b.updateTemplate(&iot.UpdateProvisioningTemplateInput{Enabled: aws.Bool(false)}) },
		found: []string{"the template fleet-template is disabled: run setup with -replace"},
	},
	{
		name:  "the template is missing",
		make:  func(b breaker) { b.deleteTemplate("fleet-template") },
		found: []string{"there is no template fleet-template in eu-west-1: run setup"},
	},
	{
		name:  "the template of renewal is missing",
		make:  func(b breaker) { b.deleteTemplate("fleet-rotation-template") },
		found: []string{"there is no template fleet-rotation-template in eu-west-1"},
	},
	{
		name: "the role may be taken for another account only",
		make: func(b breaker) { b.trust("fleet-provisioning-role", "123456789012", "210987654321") },
		found: []string{
			"the trust policy of the role fleet-provisioning-role does not let AWS IoT (iot.amazonaws.com) take it for the template fleet-template",
			"take it for the template fleet-rotation-template",
		},
	},
	{
		name:  "the role has no rights",
		make:  func(b breaker) { b.detachRolePolicy("fleet-provisioning-role", "AWSIoTThingsRegistration") },
		found: []string{"the role fleet-provisioning-role does not have the policy AWSIoTThingsRegistration, nor one of its own that allows iot:AttachPolicy"},
	},
	{
		name: "the role has rights of its own",
		make: func(b breaker) {
			b.detachRolePolicy("fleet-provisioning-role", "AWSIoTThingsRegistration")
			b.putRolePolicy("fleet-provisioning-role", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`)
		},
	},
	{
		name: "the role has another policy that is not read",
		make: func(b breaker) {
			b.detachRolePolicy("fleet-provisioning-role", "AWSIoTThingsRegistration")
			b.attachRolePolicy("fleet-provisioning-role", "arn:aws:iam::aws:policy/IAMReadOnlyAccess")
		},
		found: []string{"and what its policies IAMReadOnlyAccess allow is not read here: it needs iot:AttachPolicy: check it by hand"},
	},
	{
		name: "the policy of the devices is in the template",
		make: func(b breaker) {
			b.editTemplate(`"PolicyName": "fleet-device-policy"`, `"PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}`)
		},
	},
	{
		name: "the policy in the template allows nothing of use",
		make: func(b breaker) {
			b.editTemplate(`"PolicyName": "fleet-device-policy"`, `"PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:eu-west-1:123456789012:client/x"}]}`)
		},
		found: []string{"the policies fleet-rotation-policy, the policy in the template do not allow the thing device-0001 to connect under its name"},
	},
	{
		name: "the hook has no list",
		make: func(b breaker) { b.replaceCode("fleet-provisioning-hook") },
	},
	{
		name: "the role is missing",
		make: func(b breaker) {
			b.detachRolePolicy("fleet-provisioning-role", "AWSIoTThingsRegistration")
			b.deleteRole("fleet-provisioning-role")
		},
		found: []string{
			"there is no role arn:aws:iam::123456789012:role/fleet-provisioning-role, which the template fleet-template names",
			"which the template fleet-rotation-template names",
		},
	},
	{
		name:  "the claim is inactive",
		make:  func(b breaker) { b.setStatus(b.claim, iottypes.CertificateStatusInactive) },
		found: []string{"no claim is active: the policy fleet-claim-policy has 1 that are not"},
	},
	{
		name:  "no claim has the policy",
		make:  func(b breaker) { b.detachPolicy("fleet-claim-policy", b.claim) },
		found: []string{"no certificate has the policy fleet-claim-policy, so that there is no claim"},
	},
	{
		name:    "the claim in question is inactive and has no policy",
		examine: operator.Examination{Claim: "the claim's"},
		make: func(b breaker) {
			b.setStatus(b.claim, iottypes.CertificateStatusInactive)
			b.detachPolicy("fleet-claim-policy", b.claim)
		},
		found: []string{" is INACTIVE: activate it", " has no policy, so that it may do nothing: attach the policy fleet-claim-policy"},
	},
	{
		name:    "the claim in question is unknown",
		examine: operator.Examination{Claim: strings.Repeat("0", 64)},
		found:   []string{"there is no claim " + strings.Repeat("0", 64) + " in eu-west-1"},
	},
	{
		name: "the claim's policy lacks a topic",
		make: func(b breaker) { b.edit("fleet-claim-policy", `:topic/$aws/certificates/create/*`, `:topic/x`) },
		found: []string{
			"the policy fleet-claim-policy does not allow a claim iot:Publish on topic/$aws/certificates/create/* (for CreateKeysAndCertificate)",
			"iot:Receive on topic/$aws/certificates/create/*",
		},
	},
	{
		name: "the claim's policy lacks the topics of the other flow, as the example in AWS's documentation does",
		make: func(b breaker) { b.edit("fleet-claim-policy", `/create-from-csr/*`, `/x/*`) },
		found: []string{
			"iot:Publish on topic/$aws/certificates/create-from-csr/* (for CreateCertificateFromCsr, with a key of the device's own)",
			"iot:Subscribe on topicfilter/$aws/certificates/create-from-csr/*",
			"iot:Receive on topic/$aws/certificates/create-from-csr/*",
		},
	},
	{
		name: "the claim's policy lacks a topic filter",
		make: func(b breaker) {
			b.edit("fleet-claim-policy", `:topicfilter/$aws/provisioning-templates/fleet-template/provision/*`, `:topicfilter/x`)
		},
		found: []string{"iot:Subscribe on topicfilter/$aws/provisioning-templates/fleet-template/provision/* (for RegisterThing)"},
	},
	{
		name: "the claim's policy lacks Receive",
		make: func(b breaker) { b.edit("fleet-claim-policy", `["iot:Publish", "iot:Receive"]`, `"iot:Publish"`) },
		found: []string{
			"iot:Receive on topic/$aws/certificates/create/*",
			"iot:Receive on topic/$aws/certificates/create-from-csr/*",
			"iot:Receive on topic/$aws/provisioning-templates/fleet-template/provision/*",
		},
	},
	{
		name: "the claim's policy has JSON only, and only its acceptance",
		make: func(b breaker) {
			b.edit("fleet-claim-policy", `:topicfilter/$aws/certificates/create/*`, `:topicfilter/$aws/certificates/create/json/accepted`)
		},
		found: []string{"iot:Subscribe on topicfilter/$aws/certificates/create/json/rejected, topicfilter/$aws/certificates/create/cbor/accepted, topicfilter/$aws/certificates/create/cbor/rejected"},
	},
	{
		name:  "the claim's policy is for another template",
		make:  func(b breaker) { b.edit("fleet-claim-policy", `fleet-template`, `another`) },
		found: []string{"iot:Publish on topic/$aws/provisioning-templates/fleet-template/", "iot:Subscribe on", "iot:Receive on"},
	},
	{
		name:  "the claim's policy has other client ids than the devices",
		make:  func(b breaker) { b.edit("fleet-claim-policy", `client/fleetprov-*`, `client/sensor-*`) },
		found: []string{"the policy fleet-claim-policy does not allow a claim to connect under the client ids that devices use, fleetprov-*"},
	},
	{
		name:  "the claim's policy has all client ids",
		make:  func(b breaker) { b.edit("fleet-claim-policy", `client/fleetprov-*`, `client/*`) },
		found: []string{"a claim may connect under the client id of any device, such as device-0001, and end its session"},
	},
	{
		name: "the policy of renewal lacks Receive on one topic",
		make: func(b breaker) {
			b.edit("fleet-rotation-policy", `:topic/$aws/provisioning-templates/fleet-rotation-template/provision/*`, `:topic/x`)
		},
		found: []string{
			"the policies fleet-device-policy, fleet-rotation-policy do not allow a device that renews iot:Publish on topic/$aws/provisioning-templates/fleet-rotation-template/provision/*",
			"iot:Receive on topic/$aws/provisioning-templates/fleet-rotation-template/provision/*",
		},
	},
	{
		name:  "AWS IoT may not call the hook",
		make:  func(b breaker) { b.removePermission("fleet-provisioning-hook") },
		found: []string{"AWS IoT may not call the function fleet-provisioning-hook, which is the hook of the template fleet-template"},
	},
	{
		name: "AWS IoT may call the hook for another template only",
		make: func(b breaker) {
			b.removePermission("fleet-rotation-hook")
			b.addPermission("fleet-rotation-hook", "fleet-template")
		},
		found: []string{"AWS IoT may not call the function fleet-rotation-hook, which is the hook of the template fleet-rotation-template"},
	},
	{
		name:  "the hook is missing",
		make:  func(b breaker) { b.deleteFunction("fleet-provisioning-hook") },
		found: []string{"there is no function fleet-provisioning-hook, which is the hook of the template fleet-template"},
	},
	{
		name: "the template has no hook",
		make: func(b breaker) {
			b.updateTemplate(&iot.UpdateProvisioningTemplateInput{RemovePreProvisioningHook: aws.Bool(true)})
		},
		found: []string{"the template fleet-template has no hook"},
	},
	{
		name:  "the hook has no rights",
		make:  func(b breaker) { b.deleteRolePolicy("fleet-hook-role", "fleet-hook-role-policy") },
		found: []string{"the role fleet-hook-role does not have the policy fleet-hook-role-policy, nor one of its own that allows iot:DescribeCertificate"},
	},
	{
		name:  "AWS Lambda may not take the role of the hook",
		make:  func(b breaker) { b.trust("fleet-hook-role", "lambda.amazonaws.com", "ec2.amazonaws.com") },
		found: []string{"the trust policy of the role fleet-hook-role does not let AWS Lambda (lambda.amazonaws.com) take it"},
	},
	{
		name:  "a parameter has no default, and the device does not send it",
		make:  func(b breaker) { b.editTemplate(`"Parameters": {`, `"Parameters": {"Model": {"Type": "String"},`) },
		found: []string{"a device that sends the parameters SerialNumber cannot register with the template fleet-template: Parameters.Model: the parameter is missing and has no default: let the devices send it"},
	},
	{
		name:    "a parameter has no default, and the device sends it",
		make:    func(b breaker) { b.editTemplate(`"Parameters": {`, `"Parameters": {"Model": {"Type": "String"},`) },
		examine: operator.Examination{Parameters: map[string]string{"Model": "M1"}},
	},
	{
		name:  "the thing name of the template is none",
		make:  func(b breaker) { b.editTemplate(`"device-"`, `"device "`) },
		found: []string{`"device 0001" is not a thing name: it does not match ^[a-zA-Z0-9:_-]{1,128}$: correct the template, or what the device sends`},
	},
	{
		name:  "the template leaves the certificate inactive",
		make:  func(b breaker) { b.editTemplate(`"Status": "ACTIVE"`, `"Status": "INACTIVE"`) },
		found: []string{"the template fleet-template leaves the certificate inactive"},
	},
	{
		name: "the thing name does not satisfy the policy of the devices",
		make: func(b breaker) {
			b.edit("fleet-device-policy", `client/${iot:Connection.Thing.ThingName}`, `client/sensor-*`)
		},
		found: []string{"the policies fleet-device-policy, fleet-rotation-policy do not allow the thing device-0001 to connect under its name"},
	},
	{
		name:  "the policy of the devices is missing",
		make:  func(b breaker) { b.deletePolicy("fleet-rotation-policy") },
		found: []string{"there is no policy fleet-rotation-policy"},
	},
	{
		name:    "the endpoint is of the type iot:Data",
		examine: operator.Examination{Endpoint: "a1b2c3d4e5f6g7.iot.eu-west-1.amazonaws.com"},
		found:   []string{"the endpoint a1b2c3d4e5f6g7.iot.eu-west-1.amazonaws.com is of the type iot:Data, whose certificate is not signed by Amazon's roots: use localhost:"},
	},
	{
		name:    "the endpoint is of the credential provider",
		examine: operator.Examination{Endpoint: "c1b2c3d4e5f6g7.credentials.iot.eu-west-1.amazonaws.com:443"},
		found:   []string{"is that of the credential provider (iot:CredentialProvider): use"},
	},
	{
		name:    "the endpoint is of another account",
		examine: operator.Examination{Endpoint: "a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com"},
		found:   []string{"is not that of this account in this region: use"},
	},
	{
		name:    "the endpoint is no address of AWS, so it may be a custom domain",
		examine: operator.Examination{Endpoint: "iot.example.com:443"},
		found:   []string{"the endpoint iot.example.com:443 is no address of AWS: check that it is a custom domain of this account in this region, or use localhost:"},
	},
	{
		name:    "the endpoint is right",
		examine: operator.Examination{Endpoint: "localhost:443"},
	},
	{
		name:  "the list is empty",
		make:  func(b breaker) { b.removeSerialNumber("0001") },
		found: []string{"the list of the function fleet-provisioning-hook is empty"},
	},
	{
		name:    "the serial number is not on the list",
		examine: operator.Examination{Parameters: map[string]string{"SerialNumber": "0002"}},
		found:   []string{"the serial number 0002 is not on the list of the function fleet-provisioning-hook"},
	},
	{
		name:    "the serial number cannot be in the name of a thing",
		examine: operator.Examination{Parameters: map[string]string{"SerialNumber": "a b"}},
		found:   []string{`the serial number "a b" cannot be in the name of a thing, which has at most 128 letters, digits, :, _ and -: give the device another`},
	},
	{
		name:    "no claim is active, and devices are to have none",
		examine: operator.Examination{Fleet: operator.Fleet{NoClaim: true}},
		make:    func(b breaker) { b.setStatus(b.claim, iottypes.CertificateStatusInactive) },
	},
}

func TestDoctorFindsEachMistake(t *testing.T) {
	noPython(t)
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			c := newCloud(t, nil)
			account := c.open(t)
			setup(t, account, operator.Setup{SerialNumbers: []string{"0001"}})
			b := breaker{t, deadline(t), c, account, c.claimID(t)}
			if m.make != nil {
				m.make(b)
			}
			if m.examine.Claim == "the claim's" {
				m.examine.Claim = b.claim
			}
			findings, err := account.Examine(b.ctx, m.examine)
			require.NoError(t, err)
			require.Len(t, findings, len(m.found), "%v", findings)
			for i, want := range m.found {
				assert.Contains(t, findings[i].String(), want)
			}
		})
	}
}

// One right that is missing hides nothing else.
func TestDoctorGoesOnWhereItMayNotLook(t *testing.T) {
	noPython(t)
	deniedPath := map[string]string{ // by what is then not looked at
		"the template fleet-template could not be looked at":                                                             "GET /provisioning-templates/fleet-template",
		"the template fleet-rotation-template could not be looked at":                                                    "GET /provisioning-templates/fleet-rotation-template",
		"the trust policy of the role fleet-provisioning-role could not be looked at":                                    "GetRole",
		"what the role fleet-provisioning-role may do could not be looked at":                                            "ListAttachedRolePolicies",
		"the function fleet-provisioning-hook, which is the hook of the template fleet-template, could not be looked at": "GET /2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:fleet-provisioning-hook",
		"who may call the function fleet-provisioning-hook could not be looked at":                                       "GET /2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:fleet-provisioning-hook/policy",
		"the list of the function fleet-provisioning-hook could not be looked at":                                        "GET /2015-03-31/functions/fleet-provisioning-hook",
		"the policy fleet-device-policy could not be looked at":                                                          "GET /policies/fleet-device-policy",
		"which claims have the policy fleet-claim-policy could not be looked at":                                         "POST /policy-targets/fleet-claim-policy",
		"the endpoint of the account could not be looked at":                                                             "GET /endpoint",
	}
	var denied string
	c := newCloud(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked := r.Method + " " + r.URL.Path
			if r.URL.Path == "/" {
				body, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				r.Body = io.NopCloser(bytes.NewReader(body))
				parameters, err := url.ParseQuery(string(body))
				assert.NoError(t, err)
				asked = parameters.Get("Action")
			}
			switch {
			case asked != denied:
				next.ServeHTTP(w, r)
			case r.URL.Path == "/":
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>")
			default:
				deny(w, r, next)
			}
		})
	})
	account := c.open(t)
	setup(t, account, operator.Setup{SerialNumbers: []string{"0001"}})
	b := breaker{t, deadline(t), c, account, c.claimID(t)}
	b.deletePolicy("fleet-rotation-policy") // which renewal needs
	b.setStatus(b.claim, iottypes.CertificateStatusInactive)
	for missed, request := range deniedPath {
		t.Run(request, func(t *testing.T) {
			denied = request
			findings, err := account.Examine(deadline(t), operator.Examination{Endpoint: "x"})
			require.ErrorContains(t, err, "could not be looked at: the findings are not complete")
			var refused smithy.APIError
			require.ErrorAs(t, err, &refused)
			var all []string
			for _, f := range findings {
				all = append(all, f.What)
				if f.What == missed {
					assert.True(t, f.Warning)
					assert.Contains(t, f.Advice, "your credentials lack the right to")
				}
			}
			assert.Contains(t, all, missed)
			if request != "POST /policy-targets/fleet-claim-policy" {
				assert.Contains(t, all, "no claim is active: the policy fleet-claim-policy has 1 that are not")
			}
			if request != "GET /provisioning-templates/fleet-template" {
				assert.Contains(t, all, "there is no policy fleet-rotation-policy")
			}
		})
	}
}

// What does not keep a device from provisioning is a warning.
func TestDoctorWarns(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	setup(t, account, operator.Setup{SerialNumbers: []string{"0001"}})
	b := breaker{t, deadline(t), c, account, c.claimID(t)}
	b.edit("fleet-claim-policy", `client/fleetprov-*`, `client/*`)
	findings, err := account.Examine(b.ctx, operator.Examination{})
	require.NoError(t, err)
	require.Len(t, findings, 1)
	assert.True(t, findings[0].Warning)
}

func TestDoctorOfAnEmptyAccount(t *testing.T) {
	findings, err := newCloud(t, nil).open(t).Examine(deadline(t), operator.Examination{})
	require.NoError(t, err)
	var all []string
	for _, f := range findings {
		all = append(all, f.What)
	}
	assert.Equal(t, []string{
		"there is no template fleet-template in eu-west-1",
		"there is no template fleet-rotation-template in eu-west-1",
		"no certificate has the policy fleet-claim-policy, so that there is no claim",
	}, all)
}

// claimID returns the id of the only claim.
func (c *cloud) claimID(t *testing.T) string {
	t.Helper()
	targets, err := c.iot.ListTargetsForPolicy(deadline(t), &iot.ListTargetsForPolicyInput{PolicyName: aws.String("fleet-claim-policy")})
	require.NoError(t, err)
	require.Len(t, targets.Targets, 1)
	_, id, _ := strings.Cut(targets.Targets[0], ":cert/")
	return id
}

// breaker makes mistakes in an account.
type breaker struct {
	t       *testing.T
	ctx     context.Context
	cloud   *cloud
	account *operator.Account
	claim   string // its id
}

func (b breaker) must(_ any, err error) { b.t.Helper(); require.NoError(b.t, err) }

func (b breaker) updateTemplate(in *iot.UpdateProvisioningTemplateInput) {
	in.TemplateName = aws.String("fleet-template")
	b.must(b.cloud.iot.UpdateProvisioningTemplate(b.ctx, in))
}

func (b breaker) deleteTemplate(name string) {
	b.must(b.cloud.iot.DeleteProvisioningTemplate(b.ctx, &iot.DeleteProvisioningTemplateInput{TemplateName: &name}))
}

// editTemplate replaces a text of fleet-template, which must be in it.
func (b breaker) editTemplate(before, after string) {
	name := aws.String("fleet-template")
	found, err := b.cloud.iot.DescribeProvisioningTemplate(b.ctx, &iot.DescribeProvisioningTemplateInput{TemplateName: name})
	require.NoError(b.t, err)
	body := b.replaced(*found.TemplateBody, before, after)
	b.must(b.cloud.iot.CreateProvisioningTemplateVersion(b.ctx, &iot.CreateProvisioningTemplateVersionInput{TemplateName: name, TemplateBody: &body, SetAsDefault: true}))
}

func (b breaker) replaced(text, before, after string) string {
	require.Contains(b.t, text, before)
	return strings.ReplaceAll(text, before, after)
}

// edit replaces a text of a policy, which must be in it.
func (b breaker) edit(policy, before, after string) {
	found, err := b.cloud.iot.GetPolicy(b.ctx, &iot.GetPolicyInput{PolicyName: &policy})
	require.NoError(b.t, err)
	document := b.replaced(*found.PolicyDocument, before, after)
	b.must(b.cloud.iot.CreatePolicyVersion(b.ctx, &iot.CreatePolicyVersionInput{PolicyName: &policy, PolicyDocument: &document, SetAsDefault: true}))
}

func (b breaker) deletePolicy(name string) {
	b.must(b.cloud.iot.DeletePolicy(b.ctx, &iot.DeletePolicyInput{PolicyName: &name}))
}

func (b breaker) detachPolicy(name, id string) {
	arn := "arn:aws:iot:eu-west-1:123456789012:cert/" + id
	b.must(b.cloud.iot.DetachPolicy(b.ctx, &iot.DetachPolicyInput{PolicyName: &name, Target: &arn}))
	b.cloud.server.Advance(time.Minute) // it takes a moment
}

func (b breaker) setStatus(id string, status iottypes.CertificateStatus) {
	b.must(b.cloud.iot.UpdateCertificate(b.ctx, &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: status}))
}

// trust replaces a text in the trust policy of a role of examples/aws.
func (b breaker) trust(role, before, after string) {
	document := map[string]string{
		"fleet-provisioning-role": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"iot.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}}]}`,
		"fleet-hook-role":         `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`,
	}[role]
	document = b.replaced(document, before, after)
	b.must(b.cloud.iam.UpdateAssumeRolePolicy(b.ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &document}))
}

func (b breaker) detachRolePolicy(role, policy string) {
	arn := "arn:aws:iam::aws:policy/service-role/" + policy
	b.must(b.cloud.iam.DetachRolePolicy(b.ctx, &iam.DetachRolePolicyInput{RoleName: &role, PolicyArn: &arn}))
}

func (b breaker) attachRolePolicy(role, arn string) {
	b.must(b.cloud.iam.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &arn}))
}

func (b breaker) putRolePolicy(role, document string) {
	b.must(b.cloud.iam.PutRolePolicy(b.ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("own"), PolicyDocument: &document}))
}

func (b breaker) deleteRolePolicy(role, name string) {
	b.must(b.cloud.iam.DeleteRolePolicy(b.ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &name}))
}

func (b breaker) deleteRole(name string) {
	b.must(b.cloud.iam.DeleteRole(b.ctx, &iam.DeleteRoleInput{RoleName: &name}))
}

func (b breaker) removePermission(function string) {
	b.must(b.cloud.lambda.RemovePermission(b.ctx, &lambda.RemovePermissionInput{FunctionName: &function, StatementId: aws.String("aws-iot")}))
}

func (b breaker) addPermission(function, template string) {
	b.must(b.cloud.lambda.AddPermission(b.ctx, &lambda.AddPermissionInput{
		FunctionName: &function, StatementId: aws.String("aws-iot"), Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("iot.amazonaws.com"),
		SourceArn: aws.String("arn:aws:iot:eu-west-1:123456789012:provisioningtemplate/" + template),
	}))
}

func (b breaker) deleteFunction(name string) {
	b.must(b.cloud.lambda.DeleteFunction(b.ctx, &lambda.DeleteFunctionInput{FunctionName: &name}))
}

func (b breaker) removeSerialNumber(serialNumber string) {
	b.must(b.account.RemoveSerialNumbers(b.ctx, operator.Fleet{}, serialNumber))
}

func (b breaker) replaceRolePolicy(role, name string) {
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	b.must(b.cloud.iam.PutRolePolicy(b.ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &name, PolicyDocument: &document}))
}

func (b breaker) replaceCode(function string) {
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	b.must(w.Create("other.py"))
	require.NoError(b.t, w.Close())
	b.must(b.cloud.lambda.UpdateFunctionCode(b.ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &function, ZipFile: data.Bytes()}))
}

func (b breaker) slowDown(function string) {
	b.must(b.cloud.lambda.UpdateFunctionConfiguration(b.ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &function, Timeout: aws.Int32(60)}))
}
