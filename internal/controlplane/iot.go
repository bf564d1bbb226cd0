package controlplane

var (
	templateName  = text(1, 36, `[0-9A-Za-z_-]+`)
	templateBody  = text(0, 10240, "")
	description   = text(0, 500, `[^\p{C}]*`)
	roleARN       = text(20, 2048, "")
	hook          = object(body("payloadVersion", text(10, 32, `[0-9-]+`)), must(body("targetArn", text(0, 2048, ""))))
	versionID     = number(0, unbounded)
	certificateID = text(64, 64, `(0x)?[a-fA-F0-9]+`)
	certificate   = text(1, 65536, "")
	status        = oneOf("ACTIVE", "INACTIVE", "REVOKED", "PENDING_TRANSFER", "REGISTER_INACTIVE", "PENDING_ACTIVATION")
	policyName    = text(1, 128, `[\w+=,.@-]+`)
	policyBody    = text(0, 404600, "")
	policyVersion = text(0, unbounded, `[0-9]+`)
	thingName     = text(1, 128, `[a-zA-Z0-9:_-]+`)
	anyText       = text(0, unbounded, "")
	marker        = query("marker", text(0, 1024, `[A-Za-z0-9+/]+={0,2}`))
	pageSize      = query("pageSize", number(1, maxPage))
	ascending     = member{"ascendingOrder", inQuery, "isAscendingOrder", false, flag}
	nextToken     = query("nextToken", anyText)
	maxResults    = query("maxResults", number(1, maxPage))
	principal     = must(header("principal", "x-amzn-principal", anyText))
	setAsActive   = query("setAsActive", flag)
)

// iotOperations are those of AWS IoT, version 2015-05-28.
var iotOperations = []operation{
	{"CreateProvisioningTemplate", "POST /provisioning-templates", []member{
		must(body("templateName", templateName)), body("description", description), must(body("templateBody", templateBody)),
		body("enabled", flag), must(body("provisioningRoleArn", roleARN)), body("preProvisioningHook", hook),
		body("type", oneOf("FLEET_PROVISIONING", "JITP")),
	}, 0, (*plane).createTemplate},
	{"DescribeProvisioningTemplate", "GET /provisioning-templates/{templateName}", []member{
		uri("templateName", templateName),
	}, 0, (*plane).describeTemplate},
	{"ListProvisioningTemplates", "GET /provisioning-templates", []member{maxResults, nextToken}, 0, (*plane).listTemplates},
	{"UpdateProvisioningTemplate", "PATCH /provisioning-templates/{templateName}", []member{
		uri("templateName", templateName), body("description", description), body("enabled", flag), body("defaultVersionId", versionID),
		body("provisioningRoleArn", roleARN), body("preProvisioningHook", hook), body("removePreProvisioningHook", flag),
	}, 0, (*plane).updateTemplate},
	{"DeleteProvisioningTemplate", "DELETE /provisioning-templates/{templateName}", []member{
		uri("templateName", templateName),
	}, 0, (*plane).deleteTemplate},
	{"CreateProvisioningTemplateVersion", "POST /provisioning-templates/{templateName}/versions", []member{
		uri("templateName", templateName), must(body("templateBody", templateBody)), query("setAsDefault", flag),
	}, 0, (*plane).createTemplateVersion},
	{"DescribeProvisioningTemplateVersion", "GET /provisioning-templates/{templateName}/versions/{versionId}", []member{
		uri("templateName", templateName), uri("versionId", versionID),
	}, 0, (*plane).describeTemplateVersion},
	{"ListProvisioningTemplateVersions", "GET /provisioning-templates/{templateName}/versions", []member{
		uri("templateName", templateName), maxResults, nextToken,
	}, 0, (*plane).listTemplateVersions},
	{"DeleteProvisioningTemplateVersion", "DELETE /provisioning-templates/{templateName}/versions/{versionId}", []member{
		uri("templateName", templateName), uri("versionId", versionID),
	}, 0, (*plane).deleteTemplateVersion},
	{"CreateProvisioningClaim", "POST /provisioning-templates/{templateName}/provisioning-claim", []member{
		uri("templateName", templateName),
	}, 0, (*plane).createClaim},

	{"CreateKeysAndCertificate", "POST /keys-and-certificate", []member{setAsActive}, 0, (*plane).createKeys},
	{"CreateCertificateFromCsr", "POST /certificates", []member{
		must(body("certificateSigningRequest", text(1, 4096, ""))), setAsActive,
	}, 0, (*plane).createFromCSR},
	{"RegisterCertificate", "POST /certificate/register", []member{
		must(body("certificatePem", certificate)), body("caCertificatePem", certificate), setAsActive, body("status", status),
	}, 0, (*plane).registerCertificate},
	{"RegisterCertificateWithoutCA", "POST /certificate/register-no-ca", []member{
		must(body("certificatePem", certificate)), body("status", status),
	}, 0, (*plane).registerCertificate},
	{"DescribeCertificate", "GET /certificates/{certificateId}", []member{uri("certificateId", certificateID)}, 0, (*plane).describeCertificate},
	{"UpdateCertificate", "PUT /certificates/{certificateId}", []member{
		uri("certificateId", certificateID), must(query("newStatus", status)),
	}, 0, (*plane).updateCertificate},
	{"DeleteCertificate", "DELETE /certificates/{certificateId}", []member{
		uri("certificateId", certificateID), query("forceDelete", flag),
	}, 0, (*plane).deleteCertificate},
	{"ListCertificates", "GET /certificates", []member{pageSize, marker, ascending}, 0, (*plane).listCertificates},

	{"CreatePolicy", "POST /policies/{policyName}", []member{
		uri("policyName", policyName), must(body("policyDocument", policyBody)),
	}, 0, (*plane).createPolicy},
	{"GetPolicy", "GET /policies/{policyName}", []member{uri("policyName", policyName)}, 0, (*plane).getPolicy},
	{"DeletePolicy", "DELETE /policies/{policyName}", []member{uri("policyName", policyName)}, 0, (*plane).deletePolicy},
	{"ListPolicies", "GET /policies", []member{pageSize, marker, ascending}, 0, (*plane).listPolicies},
	{"CreatePolicyVersion", "POST /policies/{policyName}/version", []member{
		uri("policyName", policyName), must(body("policyDocument", policyBody)), query("setAsDefault", flag),
	}, 0, (*plane).createPolicyVersion},
	{"GetPolicyVersion", "GET /policies/{policyName}/version/{policyVersionId}", []member{
		uri("policyName", policyName), uri("policyVersionId", policyVersion),
	}, 0, (*plane).getPolicyVersion},
	{"ListPolicyVersions", "GET /policies/{policyName}/version", []member{uri("policyName", policyName)}, 0, (*plane).listPolicyVersions},
	{"SetDefaultPolicyVersion", "PATCH /policies/{policyName}/version/{policyVersionId}", []member{
		uri("policyName", policyName), uri("policyVersionId", policyVersion),
	}, 0, (*plane).setDefaultPolicyVersion},
	{"DeletePolicyVersion", "DELETE /policies/{policyName}/version/{policyVersionId}", []member{
		uri("policyName", policyName), uri("policyVersionId", policyVersion),
	}, 0, (*plane).deletePolicyVersion},
	{"AttachPolicy", "PUT /target-policies/{policyName}", []member{
		uri("policyName", policyName), must(body("target", anyText)),
	}, 0, (*plane).attachPolicy},
	{"DetachPolicy", "POST /target-policies/{policyName}", []member{
		uri("policyName", policyName), must(body("target", anyText)),
	}, 0, (*plane).detachPolicy},
	{"ListAttachedPolicies", "POST /attached-policies/{target}", []member{
		uri("target", anyText), query("recursive", flag), pageSize, marker,
	}, 0, (*plane).listAttachedPolicies},
	{"ListTargetsForPolicy", "POST /policy-targets/{policyName}", []member{
		uri("policyName", policyName), pageSize, marker,
	}, 0, (*plane).listTargets},

	{"AttachThingPrincipal", "PUT /things/{thingName}/principals", []member{
		uri("thingName", thingName), principal, query("thingPrincipalType", oneOf("EXCLUSIVE_THING", "NON_EXCLUSIVE_THING")),
	}, 0, (*plane).attachThing},
	{"DetachThingPrincipal", "DELETE /things/{thingName}/principals", []member{uri("thingName", thingName), principal}, 0, (*plane).detachThing},
	{"ListThingPrincipals", "GET /things/{thingName}/principals", []member{
		uri("thingName", thingName), maxResults, nextToken,
	}, 0, (*plane).listThingPrincipals},
	{"ListPrincipalThings", "GET /principals/things", []member{principal, maxResults, nextToken}, 0, (*plane).listPrincipalThings},
	{"DescribeThing", "GET /things/{thingName}", []member{uri("thingName", thingName)}, 0, (*plane).describeThing},
	{"ListThings", "GET /things", []member{
		query("attributeName", text(0, 128, `[a-zA-Z0-9_.,@/:#-]+`)), query("attributeValue", text(0, 800, `[a-zA-Z0-9_.,@/:#-]*`)),
		query("usePrefixAttributeValue", flag), query("thingTypeName", thingName), maxResults, nextToken,
	}, 0, (*plane).listThings},
	{"DeleteThing", "DELETE /things/{thingName}", []member{uri("thingName", thingName)}, 0, (*plane).deleteThing},

	{"DescribeEndpoint", "GET /endpoint", []member{query("endpointType", text(0, 128, ""))}, 0, (*plane).describeEndpoint},
}
