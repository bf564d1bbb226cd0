package iotservice

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Hook is a pre-provisioning hook. It is called from several goroutines at once.
type Hook func(HookRequest) HookResponse

// HookRequest is what AWS IoT hands to the Lambda function of a hook (provision-wo-cert).
type HookRequest struct {
	ClaimCertificateID string            `json:"claimCertificateId"`
	CertificateID      string            `json:"certificateId"`
	CertificatePEM     string            `json:"certificatePem"`
	TemplateARN        string            `json:"templateArn"`
	ClientID           string            `json:"clientId"`
	Parameters         map[string]string `json:"parameters"` // the hook's own copy
}

// HookResponse is the Lambda function's answer. The zero value refuses.
type HookResponse struct {
	AllowProvisioning  bool              `json:"allowProvisioning"`
	ParameterOverrides map[string]string `json:"parameterOverrides"`
}

// hookTimeout is how long a hook may take (provision-wo-cert).
const hookTimeout = 5 * time.Second

// fallibleHook is a hook that may have no answer.
type fallibleHook func(HookRequest) (HookResponse, error)

// hookCaller calls hooks, and waits no longer for one than AWS IoT does.
type hookCaller struct {
	calls sync.WaitGroup // those that have not returned, which may be too late already
}

// ask merges the hook's overrides into parameters. To the device, all the ways in which
// a hook can fail look the same. A hook of nil allows everything.
func (h *hookCaller) ask(hook fallibleHook, request HookRequest, parameters map[string]string) *Rejection {
	if hook == nil {
		return nil
	}
	request.Parameters = maps.Clone(parameters)
	response, err := h.call(hook, request)
	if err == nil && !response.AllowProvisioning {
		err = errors.New("it refused")
	}
	if err != nil {
		return &Rejection{
			StatusCode: 403,
			Code:       "AccessDenied",
			Message:    "Pre-provisioning hook did not allow the provisioning.",
			Cause:      err,
		}
	}
	maps.Copy(parameters, response.ParameterOverrides)
	return nil
}

func (h *hookCaller) call(hook fallibleHook, request HookRequest) (HookResponse, error) {
	type outcome struct {
		response HookResponse
		err      error
	}
	outcomes := make(chan outcome, 1)
	h.calls.Go(func() {
		o := outcome{err: errors.New("it did not return")} // stays if the hook calls runtime.Goexit
		defer func() {
			if reason := recover(); reason != nil {
				o.err = fmt.Errorf("it panicked: %v", reason)
			}
			outcomes <- o
		}()
		o.response, o.err = hook(request)
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

// wait waits for all calls to return.
func (h *hookCaller) wait() { h.calls.Wait() }
