package iottemplate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Override says what becomes of one property of a resource that exists when a
// template asks for it (provision-template). The page names no default; the zero
// Override does what the operations do that RegisterThing calls.
type Override string

// The values of an Override.
const (
	DoNothing Override = "DO_NOTHING" // the property stays as it is
	Replace   Override = "REPLACE"    // the property becomes the template's
	Merge     Override = "MERGE"      // the template's attributes or groups are added
	Fail      Override = "FAIL"       // the registration fails with ErrConflict
)

// ErrConflict means that a resource exists already and may not be changed. AWS calls it
// ResourceConflictsException and names no status for it (provision-template);
// CreateThing answers 409 for a thing that exists with another configuration
// (API_CreateThing).
var ErrConflict = errors.New("the resource exists already")

// ThingOverride is what OverrideSettings says of a thing.
type ThingOverride struct {
	AttributePayload Override
	ThingTypeName    Override // not Merge
	ThingGroups      Override
}

func parseThingOverride(place string, settings any) (ThingOverride, error) {
	given, err := parseOverrides(place, settings, "AttributePayload", "ThingTypeName", "ThingGroups")
	if err != nil {
		return ThingOverride{}, err
	}
	return ThingOverride{given["AttributePayload"], given["ThingTypeName"], given["ThingGroups"]}, nil
}

// parseOverrides takes names as AWS's examples spell them.
func parseOverrides(place string, settings any, known ...string) (map[string]Override, error) {
	if settings == nil {
		return nil, nil
	}
	given, err := members(place, settings, known...)
	if err != nil {
		return nil, err
	}
	overrides := map[string]Override{}
	for _, name := range sorted(given) {
		allowed := []Override{DoNothing, Replace, Fail}
		if name == "AttributePayload" || name == "ThingGroups" {
			allowed = append(allowed, Merge)
		}
		word, _ := given[name].(string)
		if !slices.Contains(allowed, Override(word)) {
			return nil, at(place+"."+name, "must be one of %v", allowed)
		}
		overrides[name] = Override(word)
	}
	return overrides, nil
}

// Apply returns what becomes of an existing thing when a template asks for the
// wanted one. It changes neither. Without a setting,
//
//   - attributes and thing type must be the same, as for CreateThing, which
//     succeeds for the same configuration and fails for another one;
//   - groups are added, as by AddThingToThingGroup.
//
// A billing group has no setting: one that the thing has stays. The error is an
// [ErrConflict], or says that the thing would have too many attributes or groups.
func (o ThingOverride) Apply(existing, wanted Thing) (Thing, error) {
	result := Thing{
		Name:         existing.Name,
		Attributes:   maps.Clone(existing.Attributes),
		Type:         existing.Type,
		Groups:       slices.Clone(existing.Groups),
		BillingGroup: existing.BillingGroup,
		Override:     o,
	}
	if result.BillingGroup == "" {
		result.BillingGroup = wanted.BillingGroup
	}

	switch o.AttributePayload {
	case Replace:
		result.Attributes = maps.Clone(wanted.Attributes)
	case Merge:
		if result.Attributes == nil {
			result.Attributes = map[string]string{}
		}
		maps.Copy(result.Attributes, wanted.Attributes)
	}
	if o.AttributePayload.conflicts(maps.Equal(existing.Attributes, wanted.Attributes)) {
		return Thing{}, conflict(existing, "AttributePayload")
	}

	if o.ThingTypeName == Replace {
		result.Type = wanted.Type
	}
	if o.ThingTypeName.conflicts(existing.Type == wanted.Type) {
		return Thing{}, conflict(existing, "ThingTypeName")
	}

	switch o.ThingGroups {
	case Replace:
		result.Groups = slices.Clone(wanted.Groups)
	case Merge, "":
		for _, group := range wanted.Groups {
			if !slices.Contains(result.Groups, group) {
				result.Groups = append(result.Groups, group)
			}
		}
	case Fail:
		return Thing{}, conflict(existing, "ThingGroups")
	}
	if err := result.withinLimits(); err != nil {
		return Thing{}, err
	}
	return result, nil
}

func (o Override) conflicts(same bool) bool {
	return o == Fail || o == "" && !same
}

func conflict(existing Thing, property string) error {
	return fmt.Errorf("the thing %s: %s: %w", existing.Name, property, ErrConflict)
}

// CertificateOverride is what OverrideSettings says of a certificate.
type CertificateOverride struct {
	Status Override // not Merge
}

func parseCertificateOverride(place string, settings any) (CertificateOverride, error) {
	given, err := parseOverrides(place, settings, "Status")
	return CertificateOverride{given["Status"]}, err
}

// Apply returns the status of an existing certificate after a registration that
// asks for the wanted one. A certificate that is PENDING_ACTIVATION is still waiting
// for its first status, and gets it whatever the setting. Without a setting
// the status is replaced, as by UpdateCertificate. The error is an
// [ErrConflict].
func (o CertificateOverride) Apply(existing, wanted string) (string, error) {
	switch {
	case existing == "PENDING_ACTIVATION":
		return wanted, nil
	case o.Status == DoNothing:
		return existing, nil
	case o.Status == Fail:
		return "", fmt.Errorf("the certificate: Status: %w", ErrConflict)
	}
	return wanted, nil
}
