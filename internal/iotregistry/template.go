package iotregistry

import (
	"encoding/json"
	"regexp"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// Account is the number of the account, that of AWS's examples.
const Account = "123456789012"

// ARN is what the ARNs of the account in AWS IoT begin with, where nobody has named
// another region.
const ARN = "arn:aws:iot:us-east-1:" + Account + ":"

func templateARN(name string) string { return ARN + "provisioningtemplate/" + name }

// Template says what to register for a device. Among the parameters is the id of its
// certificate, [iottemplate.CertificateID]. [iottemplate.Template] is one.
type Template interface {
	Evaluate(parameters map[string]string) (*iottemplate.Registration, error)
}

// templates are the provisioning templates of a Registry, by name. The Registry's mutex
// guards them.
type templates struct{ byName map[string]template }

// template is a template with the policy that a claim needs for it.
type template struct {
	evaluated Template
	claim     *iotpolicy.Document
	managed   *ProvisioningTemplate // nil: it has no body, and operators do not see it
}

func newTemplates() templates { return templates{byName: make(map[string]template)} }

// put adds a template with a body, or replaces the one of its name.
func (s *templates) put(t *ProvisioningTemplate) {
	v, _ := t.Version(t.Default)
	s.byName[t.Name] = template{v.parsed, claimPolicy(t.Name), t}
}

func (s *templates) get(name string) (*ProvisioningTemplate, error) {
	if t := s.byName[name].managed; t != nil {
		return t, nil
	}
	return nil, noSuchTemplate(name)
}

var templateName = regexp.MustCompile(`^[0-9A-Za-z_-]{1,36}$`)

// ValidTemplateName reports whether AWS IoT takes a name for a template
// (API_CreateProvisioningTemplate).
func ValidTemplateName(name string) bool { return templateName.MatchString(name) }

// claimPolicy is what a claim needs to provision with a template, and nothing else
// (provision-wo-cert).
func claimPolicy(template string) *iotpolicy.Document {
	topics := []string{
		"$aws/certificates/create/*",
		"$aws/certificates/create-from-csr/*",
		"$aws/provisioning-templates/" + template + "/provision/*",
	}
	resources := func(kind string) []string {
		var resources []string
		for _, topic := range topics {
			resources = append(resources, ARN+kind+"/"+topic)
		}
		return resources
	}
	type statement struct {
		Effect           string
		Action, Resource []string
	}
	text, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []statement{
			{"Allow", []string{"iot:Connect"}, []string{ARN + "client/*"}},
			{"Allow", []string{"iot:Publish", "iot:Receive"}, resources("topic")},
			{"Allow", []string{"iot:Subscribe"}, resources("topicfilter")},
		},
	})
	if err != nil {
		panic("iotregistry: " + err.Error())
	}
	document, err := iotpolicy.Parse(text)
	if err != nil {
		panic("iotregistry: the policy for the claim of template " + template + ": " + err.Error())
	}
	return document
}
