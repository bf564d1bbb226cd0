package fleetprovtest

// HookRequest is what AWS IoT hands to the Lambda function of a
// pre-provisioning hook (provision-wo-cert). In JSON it is the function's event.
type HookRequest struct {
	ClaimCertificateID string            `json:"claimCertificateId"` // the certificate the device connected with
	CertificateID      string            `json:"certificateId"`      // the certificate being registered
	CertificatePEM     string            `json:"certificatePem"`     // the same certificate
	TemplateARN        string            `json:"templateArn"`        // ends with "provisioningtemplate/" and the template's name
	ClientID           string            `json:"clientId"`           // MQTT client id of the connection
	Parameters         map[string]string `json:"parameters"`         // as sent by the device; the hook's own copy
}

// HookResponse is the Lambda function's answer, and has its JSON, too. The zero value
// refuses.
type HookResponse struct {
	AllowProvisioning  bool              `json:"allowProvisioning"`
	ParameterOverrides map[string]string `json:"parameterOverrides,omitempty"` // merged into the parameters
}
