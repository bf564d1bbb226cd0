package fleetprovtest

import (
	"encoding/json"
	"fmt"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// arn is what every ARN of the server begins with. The account is that of AWS's
// examples.
const arn = "arn:aws:iot:us-east-1:123456789012:"

// devicePolicyName names DevicePolicy where no template names a policy.
const devicePolicyName = "device-policy"

// defaultDevicePolicy forbids nothing: what a device is for is its owner's to say.
const defaultDevicePolicy = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`

// policies are the documents that certificates are subject to. The Server's mutex
// guards them.
type policies struct {
	claim  []*iotpolicy.Document
	device *iotpolicy.Document
	named  map[string]*iotpolicy.Document
	inline map[string]string // those that came in a template, as text
}

// AddPolicy adds a policy that templates may name, or replaces the one with that
// name. It fails if document is not an AWS IoT policy document. It may be called at
// any time; clients that are connected keep the policies they have.
func (s *Server) AddPolicy(name, document string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.policies.add(name, document); err != nil {
		return fmt.Errorf("fleetprovtest: %w", err)
	}
	return nil
}

func (p *policies) add(name, document string) error {
	parsed, err := iotpolicy.Parse([]byte(document))
	if err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	p.named[name] = parsed
	return nil
}

// attachLocked attaches the policies of a template to a certificate. A policy whose
// document is in the template is added first.
func (s *Server) attachLocked(c *issued, wanted []iottemplate.Policy) error {
	var names []string
	for _, p := range wanted {
		if p.Document != "" && s.policies.inline[p.Name] != p.Document {
			if err := s.policies.add(p.Name, p.Document); err != nil {
				return err
			}
			s.policies.inline[p.Name] = p.Document
			s.keepLocked(stateRecord{Policy: &policyRecord{p.Name, p.Document}})
		}
		names = append(names, p.Name)
	}
	c.policies = names
	return nil
}

// parsePolicies parses the policies of the claim and of devices.
func (s *Server) parsePolicies() {
	s.mu.Lock()
	defer s.mu.Unlock()
	document := s.DevicePolicy
	if document == "" {
		document = defaultDevicePolicy
	}
	s.policies.device = mustParsePolicy("DevicePolicy", document)
	if s.ClaimPolicy != "" {
		s.policies.claim = []*iotpolicy.Document{mustParsePolicy("ClaimPolicy", s.ClaimPolicy)}
		return
	}
	s.allowTemplateLocked(s.template())
	for name := range s.templates {
		s.allowTemplateLocked(name)
	}
}

// allowTemplateLocked lets the claim provision with a template.
func (s *Server) allowTemplateLocked(template string) {
	s.policies.claim = append(s.policies.claim, mustParsePolicy("ClaimPolicy", leastPrivilege(template)))
}

func mustParsePolicy(field, document string) *iotpolicy.Document {
	parsed, err := iotpolicy.Parse([]byte(document))
	if err != nil {
		panic("fleetprovtest: " + field + ": " + err.Error())
	}
	return parsed
}

// leastPrivilege is what a claim needs to provision with a template, and nothing
// else (provision-wo-cert).
func leastPrivilege(template string) string {
	topics := []string{
		"$aws/certificates/create/*",
		"$aws/certificates/create-from-csr/*",
		"$aws/provisioning-templates/" + template + "/provision/*",
	}
	resources := func(kind string) []string {
		var resources []string
		for _, topic := range topics {
			resources = append(resources, arn+kind+"/"+topic)
		}
		return resources
	}
	type statement struct {
		Effect           string
		Action, Resource []string
	}
	document, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []statement{
			{"Allow", []string{"iot:Connect"}, []string{arn + "client/*"}},
			{"Allow", []string{"iot:Publish", "iot:Receive"}, resources("topic")},
			{"Allow", []string{"iot:Subscribe"}, resources("topicfilter")},
		},
	})
	if err != nil {
		panic("fleetprovtest: " + err.Error())
	}
	return string(document)
}

// policiesLocked returns the policies that are attached to a certificate.
func (s *Server) policiesLocked(id string) []*iotpolicy.Document {
	c := s.registry.byID[id]
	if c == nil {
		return s.policies.claim
	}
	var attached []*iotpolicy.Document
	for _, name := range c.policies {
		document := s.policies.named[name]
		if document == nil {
			document = s.policies.device
			if name != devicePolicyName {
				s.logger().Warn("DevicePolicy stands for a policy that was not added", "policy", name, "certificate", id[:8])
			}
		}
		attached = append(attached, document)
	}
	return attached
}
