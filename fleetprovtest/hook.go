package fleetprovtest

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

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

// HookResponse is the Lambda function's answer, in JSON too. Its zero value
// refuses.
type HookResponse struct {
	AllowProvisioning  bool              `json:"allowProvisioning"`
	ParameterOverrides map[string]string `json:"parameterOverrides,omitempty"` // merged into the parameters
}

// hookTimeout is how long a hook may take (provision-wo-cert).
const hookTimeout = 5 * time.Second

// askHook merges the hook's overrides into parameters. All the ways in which a
// hook can fail look the same to the device.
func (s *Server) askHook(by *session, template string, c *issued, parameters map[string]string) *Rejection {
	if s.Hook == nil {
		return nil
	}
	response, err := s.callHook(HookRequest{
		ClaimCertificateID: by.certificateID,
		CertificateID:      c.id,
		CertificatePEM:     certificatePEM(c.certificate),
		TemplateARN:        arn + "provisioningtemplate/" + template,
		ClientID:           by.ClientID(),
		Parameters:         maps.Clone(parameters),
	})
	if err == nil && !response.AllowProvisioning {
		err = errors.New("it refused")
	}
	if err != nil {
		s.log(by, "hook refused", "reason", err)
		return &Rejection{StatusCode: 403, Code: "AccessDenied", Message: "Pre-provisioning hook did not allow the provisioning."}
	}
	maps.Copy(parameters, response.ParameterOverrides)
	return nil
}

// callHook waits for the hook no longer than AWS IoT does.
func (s *Server) callHook(request HookRequest) (HookResponse, error) {
	type outcome struct {
		response HookResponse
		err      error
	}
	outcomes := make(chan outcome, 1)
	s.hooks.Go(func() {
		o := outcome{err: errors.New("it did not return")}
		defer func() {
			if reason := recover(); reason != nil {
				o.err = fmt.Errorf("it panicked: %v", reason)
			}
			outcomes <- o
		}()
		o = outcome{response: s.Hook(request)}
	})
	timer := time.NewTimer(hookTimeout)
	defer timer.Stop()
	select {
	case o := <-outcomes:
		return o.response, o.err
	case <-timer.C:
		return HookResponse{}, errors.New("it took longer than five seconds")
	}
}
