package iotregistry

import (
	"fmt"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// ProvisioningTemplate is a template with a body, as operators see it.
type ProvisioningTemplate struct {
	Name string
	ARN  string
	TemplateSettings
	CreatedAt, ModifiedAt time.Time
	Versions              []TemplateVersion // in the order of their ids; never none
	Default               int               // the id of the version that is used
}

// TemplateSettings are what can be changed of a template other than its body.
type TemplateSettings struct {
	Description string
	Enabled     bool   // whether devices can use it
	RoleARN     string // "" for a template that needs no role
	Hook        Hook   // the zero value: none, or that of the server
}

// Hook is the pre-provisioning hook of a template.
type Hook struct{ TargetARN, PayloadVersion string }

// TemplateVersion is a version of the body of a template.
type TemplateVersion struct {
	ID        int // 1 is the first
	Body      string
	CreatedAt time.Time
	parsed    *iottemplate.Template
}

// Version returns the version with an id.
func (t *ProvisioningTemplate) Version(id int) (TemplateVersion, error) {
	for _, v := range t.Versions {
		if v.ID == id {
			return v, nil
		}
	}
	return TemplateVersion{}, refuse(resourceNotFound, "Version %d of template %s not found", id, t.Name)
}

func (t *ProvisioningTemplate) clone() ProvisioningTemplate {
	copied := *t
	copied.Versions = slices.Clone(t.Versions)
	return copied
}

func noSuchTemplate(name string) error {
	return refuse(resourceNotFound, "Provisioning template %s not found", name)
}

// newProvisioningTemplate fails if body is not the body of a template.
func newProvisioningTemplate(name, arn, body string, settings TemplateSettings, now time.Time) (*ProvisioningTemplate, error) {
	parsed, err := iottemplate.Parse([]byte(body))
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return &ProvisioningTemplate{
		Name:             name,
		ARN:              arn,
		TemplateSettings: settings,
		CreatedAt:        now,
		ModifiedAt:       now,
		Versions:         []TemplateVersion{{1, body, now, parsed}},
		Default:          1,
	}, nil
}
