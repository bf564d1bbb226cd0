package iottemplate

import (
	"fmt"
	"regexp"
)

// Thing is the thing that a template registers.
type Thing struct {
	Name         string
	Attributes   map[string]string // nil if the template sets none
	Type         string            // "" if the template sets none
	Groups       []string
	BillingGroup string // "" if the template sets none

	// Override says what becomes of a thing of this name that is already registered.
	Override ThingOverride
}

// The registry's limits (API_CreateThing, API_ThingAttribute, AWS IoT Core
// quotas).
const (
	maxUntypedAttributes = 3
	maxAttributes        = 50
	maxGroups            = 10
)

var (
	registryName   = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	attributeName  = regexp.MustCompile(`^[a-zA-Z0-9_.,@/:#-]{1,128}$`)
	attributeValue = regexp.MustCompile(`^[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}$`)
)

func matching(pattern *regexp.Regexp, what string) check {
	return func(text string) error {
		if !pattern.MatchString(text) {
			return fmt.Errorf("%s is not %s: it does not match %s", quoted(text), what, pattern)
		}
		return nil
	}
}

type thingResource struct {
	place        string
	name         text
	attributes   map[string]text
	thingType    *text
	groups       *sequence
	billingGroup *text
	override     ThingOverride
}

// thing also accepts PackageVersions, which has no effect here: AWS documents little
// more than its name.
func (p parser) thing(place string, properties, overrides any) (*thingResource, error) {
	t := &thingResource{place: place}
	place += ".Properties"
	given, err := members(place, properties, "ThingName", "AttributePayload", "ThingTypeName", "ThingGroups", "BillingGroup", "PackageVersions")
	if err != nil {
		return nil, err
	}
	name, err := p.optional(place, given, "ThingName", matching(registryName, "a thing name"))
	if err != nil {
		return nil, err
	}
	if name == nil {
		return nil, at(place, "ThingName is missing")
	}
	t.name = *name
	if payload, ok := given["AttributePayload"]; ok {
		place := place + ".AttributePayload"
		if t.attributes, err = p.texts(place, payload, matching(attributeValue, "an attribute value")); err != nil {
			return nil, err
		}
		for _, name := range sorted(t.attributes) {
			if err := matching(attributeName, "an attribute name")(name); err != nil {
				return nil, at(place, "%w", err)
			}
		}
	}
	if t.thingType, err = p.optional(place, given, "ThingTypeName", matching(registryName, "a thing type name")); err != nil {
		return nil, err
	}
	if groups, ok := given["ThingGroups"]; ok {
		list, err := p.sequence(place+".ThingGroups", groups)
		if err != nil {
			return nil, err
		}
		t.groups = &list
	}
	if t.billingGroup, err = p.optional(place, given, "BillingGroup", matching(registryName, "a billing group name")); err != nil {
		return nil, err
	}
	if _, err := p.expression(place+".PackageVersions", given["PackageVersions"]); err != nil {
		return nil, err
	}
	t.override, err = parseThingOverride(t.place+".OverrideSettings", overrides)
	return t, err
}

func (t *thingResource) evaluate(v values) (*Thing, error) {
	thing := &Thing{Override: t.override}
	var err error
	if thing.Name, err = t.name.evaluate(v); err != nil {
		return nil, err
	}
	if t.attributes != nil {
		if thing.Attributes, err = evaluateTexts(t.attributes, v); err != nil {
			return nil, err
		}
	}
	if thing.Type, err = t.thingType.orEmpty(v); err != nil {
		return nil, err
	}
	if t.groups != nil {
		if thing.Groups, err = t.groups.texts(v, matching(registryName, "a thing group name")); err != nil {
			return nil, err
		}
	}
	if thing.BillingGroup, err = t.billingGroup.orEmpty(v); err != nil {
		return nil, err
	}
	if err := thing.withinLimits(); err != nil {
		return nil, at(t.place, "%w", err)
	}
	return thing, nil
}

// withinLimits checks the numbers of attributes and groups.
func (t *Thing) withinLimits() error {
	switch n := len(t.Attributes); {
	case n > maxAttributes:
		return fmt.Errorf("the thing has %d attributes, more than %d", n, maxAttributes)
	case n > maxUntypedAttributes && t.Type == "":
		return fmt.Errorf("the thing has %d attributes, more than %d, and no thing type", n, maxUntypedAttributes)
	case len(t.Groups) > maxGroups:
		return fmt.Errorf("the thing is in %d groups, more than %d", len(t.Groups), maxGroups)
	}
	return nil
}
