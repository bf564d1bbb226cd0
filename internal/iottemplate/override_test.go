package iottemplate_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

func TestThingOverride(t *testing.T) {
	type (
		override   = iottemplate.ThingOverride
		thing      = iottemplate.Thing
		attributes = map[string]string
	)
	const (
		doNothing = iottemplate.DoNothing
		replace   = iottemplate.Replace
		merge     = iottemplate.Merge
		fail      = iottemplate.Fail
	)
	for _, test := range []struct {
		name             string
		override         override
		existing, wanted thing
		want             *thing // nil: a conflict
	}{
		{"attributes stay", override{AttributePayload: doNothing},
			thing{Attributes: attributes{"a": "1"}}, thing{Attributes: attributes{"a": "2", "b": "2"}},
			&thing{Attributes: attributes{"a": "1"}}},
		{"attributes are replaced", override{AttributePayload: replace},
			thing{Attributes: attributes{"a": "1", "c": "1"}}, thing{Attributes: attributes{"a": "2", "b": "2"}},
			&thing{Attributes: attributes{"a": "2", "b": "2"}}},
		{"attributes are replaced by none", override{AttributePayload: replace},
			thing{Attributes: attributes{"a": "1"}}, thing{}, &thing{}},
		{"attributes are merged", override{AttributePayload: merge},
			thing{Attributes: attributes{"a": "1", "c": "1"}}, thing{Attributes: attributes{"a": "2", "b": "2"}},
			&thing{Attributes: attributes{"a": "2", "b": "2", "c": "1"}}},
		{"attributes are merged into none", override{AttributePayload: merge},
			thing{}, thing{Attributes: attributes{"a": "2"}}, &thing{Attributes: attributes{"a": "2"}}},
		{"attributes fail, even the same", override{AttributePayload: fail},
			thing{Attributes: attributes{"a": "1"}}, thing{Attributes: attributes{"a": "1"}}, nil},
		{"the same attributes need no setting", override{},
			thing{Attributes: attributes{"a": "1"}}, thing{Attributes: attributes{"a": "1"}},
			&thing{Attributes: attributes{"a": "1"}}},
		{"other attributes need a setting", override{},
			thing{Attributes: attributes{"a": "1"}}, thing{Attributes: attributes{"a": "2"}}, nil},
		{"fewer attributes need a setting", override{},
			thing{Attributes: attributes{"a": "1"}}, thing{}, nil},

		{"the thing type stays", override{ThingTypeName: doNothing}, thing{Type: "pump"}, thing{Type: "valve"}, &thing{Type: "pump"}},
		{"the thing type is replaced", override{ThingTypeName: replace}, thing{Type: "pump"}, thing{Type: "valve"}, &thing{Type: "valve"}},
		{"FAIL fails even for the same thing type", override{ThingTypeName: fail}, thing{Type: "pump"}, thing{Type: "pump"}, nil},
		{"the same thing type needs no setting", override{}, thing{Type: "pump"}, thing{Type: "pump"}, &thing{Type: "pump"}},
		{"another thing type needs a setting", override{}, thing{Type: "pump"}, thing{Type: "valve"}, nil},

		{"groups stay", override{ThingGroups: doNothing}, thing{Groups: []string{"a"}}, thing{Groups: []string{"b"}}, &thing{Groups: []string{"a"}}},
		{"groups are replaced", override{ThingGroups: replace}, thing{Groups: []string{"a"}}, thing{Groups: []string{"b"}}, &thing{Groups: []string{"b"}}},
		{"groups are merged", override{ThingGroups: merge}, thing{Groups: []string{"a", "b"}}, thing{Groups: []string{"b", "c"}}, &thing{Groups: []string{"a", "b", "c"}}},
		{"groups fail, even the same", override{ThingGroups: fail}, thing{Groups: []string{"a"}}, thing{Groups: []string{"a"}}, nil},
		{"groups are added without a setting", override{}, thing{Groups: []string{"a"}}, thing{Groups: []string{"b"}}, &thing{Groups: []string{"a", "b"}}},

		{"a billing group stays", override{}, thing{BillingGroup: "a"}, thing{BillingGroup: "b"}, &thing{BillingGroup: "a"}},
		{"a thing without a billing group gets one", override{}, thing{}, thing{BillingGroup: "b"}, &thing{BillingGroup: "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.existing.Name, test.wanted.Name = "pump-1", "pump-1"
			got, err := test.override.Apply(test.existing, test.wanted)
			if test.want == nil {
				assert.ErrorIs(t, err, iottemplate.ErrConflict)
				assert.ErrorContains(t, err, "the thing pump-1: ")
				assert.Zero(t, got)
				return
			}
			require.NoError(t, err)
			test.want.Name, test.want.Override = "pump-1", test.override
			assert.Equal(t, *test.want, got)
		})
	}
}

func TestThingOverrideKeepsItsArguments(t *testing.T) {
	existing := iottemplate.Thing{Attributes: map[string]string{"a": "1"}, Groups: make([]string, 1, 2)}
	wanted := iottemplate.Thing{Attributes: map[string]string{"b": "2"}, Groups: []string{"g"}}
	o := iottemplate.ThingOverride{AttributePayload: iottemplate.Merge, ThingGroups: iottemplate.Merge}
	_, err := o.Apply(existing, wanted)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"a": "1"}, existing.Attributes)
	assert.Equal(t, []string{"", ""}, existing.Groups[:2])
	assert.Equal(t, map[string]string{"b": "2"}, wanted.Attributes)
}

func TestThingOverrideKeepsTheLimits(t *testing.T) {
	existing := iottemplate.Thing{Attributes: map[string]string{}}
	wanted := iottemplate.Thing{Attributes: map[string]string{}}
	for i := range 2 {
		existing.Attributes["a"+strconv.Itoa(i)] = ""
		wanted.Attributes["b"+strconv.Itoa(i)] = ""
	}
	got, err := iottemplate.ThingOverride{AttributePayload: iottemplate.Merge}.Apply(existing, wanted)
	assert.Zero(t, got)
	require.EqualError(t, err, "the thing has 4 attributes, more than 3, and no thing type")
	assert.NotErrorIs(t, err, iottemplate.ErrConflict)
}

func TestCertificateOverride(t *testing.T) {
	for _, test := range []struct {
		name             string
		override         iottemplate.Override
		existing, wanted string
		want             string // "": a conflict
	}{
		{"a pending certificate gets its first status", "", "PENDING_ACTIVATION", "ACTIVE", "ACTIVE"},
		{"a pending certificate gets it with DO_NOTHING, too", iottemplate.DoNothing, "PENDING_ACTIVATION", "INACTIVE", "INACTIVE"},
		{"a pending certificate gets its first status with FAIL, too", iottemplate.Fail, "PENDING_ACTIVATION", "ACTIVE", "ACTIVE"},
		{"a status is replaced without a setting", "", "INACTIVE", "ACTIVE", "ACTIVE"},
		{"a status is replaced", iottemplate.Replace, "INACTIVE", "ACTIVE", "ACTIVE"},
		{"a status stays", iottemplate.DoNothing, "INACTIVE", "ACTIVE", "INACTIVE"},
		{"FAIL fails even for the same status", iottemplate.Fail, "ACTIVE", "ACTIVE", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := iottemplate.CertificateOverride{Status: test.override}.Apply(test.existing, test.wanted)
			assert.Equal(t, test.want, got)
			if test.want == "" {
				assert.ErrorIs(t, err, iottemplate.ErrConflict)
				return
			}
			assert.NoError(t, err)
		})
	}
}
