package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestParseQuota(t *testing.T) {
	for text, want := range map[string]fleetprovtest.Quota{
		"RegisterThing=10":       {PerSecond: 10},
		"RegisterThing=0.1":      {PerSecond: 0.1},
		"RegisterThing=0":        {},
		"RegisterThing=10:close": {PerSecond: 10},
		"RegisterThing=10:429":   {PerSecond: 10, Answer: fleetprovtest.Answer429},
		"RegisterThing=10:400":   {PerSecond: 10, Answer: fleetprovtest.Answer400},
	} {
		t.Run(text, func(t *testing.T) {
			op, quota, err := parseQuota(text)
			require.NoError(t, err)
			assert.Equal(t, fleetprovtest.OpRegisterThing, op)
			assert.Equal(t, want, quota)
		})
	}
	for text, says := range map[string]string{
		"":                       "it must be operation=number",
		"RegisterThing":          "it must be operation=number",
		"Publish=1":              `there is no operation "Publish"`,
		"RegisterThing=":         "must be 0 or more",
		"RegisterThing=many":     "must be 0 or more",
		"RegisterThing=-1":       "must be 0 or more",
		"RegisterThing=NaN":      "must be 0 or more",
		"RegisterThing=Inf":      "must be 0 or more",
		"RegisterThing=1:401":    `"401" is none of close, 429 and 400`,
		"RegisterThing=1:":       `"" is none of close, 429 and 400`,
		"RegisterThing=1:close ": `"close " is none of close, 429 and 400`,
	} {
		t.Run(text, func(t *testing.T) {
			op, quota, err := parseQuota(text)
			require.ErrorContains(t, err, says)
			assert.Zero(t, op)
			assert.Zero(t, quota)
		})
	}
}

func FuzzQuota(f *testing.F) {
	for _, text := range []string{"", "aws", "Connect=500", "RegisterThing=0.1:close", "Subscribe=NaN", "Connect=1e999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		op, quota, err := parseQuota(text)
		if err != nil {
			assert.Zero(t, op)
			assert.Zero(t, quota)
			return
		}
		assert.Contains(t, operations, op)
		assert.GreaterOrEqual(t, quota.PerSecond, 0.0)
		assert.Zero(t, quota.Burst)
	})
}
