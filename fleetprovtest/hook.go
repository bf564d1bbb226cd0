package fleetprovtest

// HookRequest is what AWS IoT hands to the Lambda function of a
// pre-provisioning hook (provision-wo-cert).
type HookRequest struct {
	ClaimCertificateID string            // the certificate the device connected with
	CertificateID      string            // the certificate being registered
	CertificatePEM     string            // the same certificate
	TemplateARN        string            // ends with "provisioningtemplate/" and the template's name
	ClientID           string            // MQTT client id of the connection
	Parameters         map[string]string // as sent by the device; the hook's own copy
}

// HookResponse is the Lambda function's answer. Its zero value refuses.
type HookResponse struct {
	AllowProvisioning  bool
	ParameterOverrides map[string]string // merged into the parameters
}

// templateARN names the template in the account that AWS uses in its examples.
func (s *Server) templateARN() string {
	return "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/" + s.template()
}
