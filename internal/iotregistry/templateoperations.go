package iotregistry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

// AddTemplate adds a template with a body as AWS IoT takes it, or replaces the one of
// that name.
func (r *Registry) AddTemplate(name, body string) error {
	if !ValidTemplateName(name) {
		return fmt.Errorf("%q cannot be the name of a template", name)
	}
	t, err := newProvisioningTemplate(name, templateARN(name), body, TemplateSettings{Enabled: true}, r.now())
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.templates.put(t)
	return nil
}

// AddFallbackTemplate adds a template unless there is one of that name.
func (r *Registry) AddFallbackTemplate(name string, t Template) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, exists := r.templates.byName[name]; !exists {
		r.templates.byName[name] = template{evaluated: t, claim: claimPolicy(name)}
	}
}

// Usable is a template that a device has named.
type Usable struct {
	Template // nil: there is none of that name
	ARN      string
	Settings TemplateSettings
}

// Template returns what a device needs of the template of that name.
func (r *Registry) Template(name string) Usable {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.templates.byName[name]
	if t.managed == nil {
		return Usable{t.evaluated, templateARN(name), TemplateSettings{Enabled: true}}
	}
	return Usable{t.evaluated, t.managed.ARN, t.managed.TemplateSettings}
}

// ProvisioningTemplate returns the template of that name.
func (r *Registry) ProvisioningTemplate(name string) (ProvisioningTemplate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.templates.get(name)
	if err != nil {
		return ProvisioningTemplate{}, err
	}
	return t.clone(), nil
}

// ProvisioningTemplates returns the templates with a body, in the order of their names.
func (r *Registry) ProvisioningTemplates() []ProvisioningTemplate {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []ProvisioningTemplate
	for _, name := range slices.Sorted(maps.Keys(r.templates.byName)) {
		if t := r.templates.byName[name].managed; t != nil {
			all = append(all, t.clone())
		}
	}
	return all
}

// CreateTemplate adds a template. It fails if there is one of that name that has a body;
// a fallback is replaced.
func (r *Registry) CreateTemplate(name, arn, body string, settings TemplateSettings) (ProvisioningTemplate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.templates.byName[name].managed != nil {
		return ProvisioningTemplate{}, refuse(resourceAlreadyExists, "Provisioning template %s already exists", name)
	}
	t, err := newProvisioningTemplate(name, arn, body, settings, r.now())
	if err != nil {
		return ProvisioningTemplate{}, refuse(invalidRequest, "%v", err)
	}
	r.templates.put(t)
	return t.clone(), nil
}

// ChangeTemplate calls change with the settings of a template, and then makes version the
// default unless it is 0.
func (r *Registry) ChangeTemplate(name string, version int, change func(*TemplateSettings)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.templates.get(name)
	if err != nil {
		return err
	}
	if version != 0 {
		if _, err := t.Version(version); err != nil {
			return err
		}
		t.Default = version
	}
	change(&t.TemplateSettings)
	t.ModifiedAt = r.now()
	r.templates.put(t)
	return nil
}

// CreateTemplateVersion adds a version to a template, which is used at once or when it is
// made the default.
func (r *Registry) CreateTemplateVersion(name, body string, use bool) (TemplateVersion, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.templates.get(name)
	if err != nil {
		return TemplateVersion{}, err
	}
	parsed, err := iottemplate.Parse([]byte(body))
	if err != nil {
		return TemplateVersion{}, refuse(invalidRequest, "template %s: %v", name, err)
	}
	if len(t.Versions) >= maxVersions {
		return TemplateVersion{}, refuse(versionsLimitExceeded, "The template %s already has the maximum number of versions (%d)", name, maxVersions)
	}
	v := TemplateVersion{t.Versions[len(t.Versions)-1].ID + 1, body, r.now(), parsed}
	t.Versions = append(t.Versions, v)
	if use {
		t.Default = v.ID
		r.templates.put(t)
	}
	return v, nil
}

// DeleteTemplateVersion deletes a version that is not the default.
func (r *Registry) DeleteTemplateVersion(name string, id int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.templates.get(name)
	if err != nil {
		return err
	}
	if _, err := t.Version(id); err != nil {
		return err
	}
	if id == t.Default {
		return refuse(deleteConflict, "The default version of template %s cannot be deleted", name)
	}
	t.Versions = slices.DeleteFunc(t.Versions, func(v TemplateVersion) bool { return v.ID == id })
	return nil
}

// DeleteTemplate deletes a template with all its versions.
func (r *Registry) DeleteTemplate(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.templates.get(name); err != nil {
		return err
	}
	delete(r.templates.byName, name)
	return nil
}
