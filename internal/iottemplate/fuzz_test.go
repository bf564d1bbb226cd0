package iottemplate_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iottemplate"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(fleetTemplate), "SN-1")
	f.Add([]byte(withConfiguration(`{"Fn::Join": ["_", {"Fn::Split": ["-", {"Ref": "Serial"}]}]}`)), "a-b")
	f.Add([]byte(withConfiguration(`{"Fn::Sub": ["${!a}${A}${Serial}", {"A": {"Fn::Select": ["1", [null, {"Fn::FindInMap": ["Regions", "EU", "hosts"]}]]}}]}`)), "")
	f.Add([]byte(withConfiguration(eightfold(5))), "x")
	f.Add([]byte(`{"Parameters":{"Serial":{"Type":"String"}},"Resources":{"p":{"Type":"AWS::IoT::Policy","Properties":{"PolicyDocument":{"Ref":"Serial"}}}}}`), "{}")
	f.Fuzz(func(t *testing.T, body []byte, value string) {
		template, err := iottemplate.Parse(body)
		if err != nil {
			require.Nil(t, template)
			return
		}
		parameters := map[string]string{iottemplate.CertificateID: certificateID}
		for _, name := range []string{"SerialNumber", "Serial", "A"} {
			parameters[name] = value
		}
		got, err := template.Evaluate(parameters)
		if err != nil {
			require.Nil(t, got)
			return
		}
		if got.Thing != nil {
			assert.Regexp(t, `^[a-zA-Z0-9:_-]{1,128}$`, got.Thing.Name)
			_, err := got.Thing.Override.Apply(*got.Thing, *got.Thing)
			if err != nil {
				assert.ErrorIs(t, err, iottemplate.ErrConflict)
			}
		}
		if got.Certificate != nil {
			assert.Contains(t, []string{"ACTIVE", "INACTIVE"}, got.Certificate.Status)
		}
		for _, policy := range got.Policies {
			assert.Regexp(t, `^[\w+=,.@-]{1,128}$`, policy.Name)
			assert.True(t, policy.Document == "" || json.Valid([]byte(policy.Document)))
		}
	})
}
