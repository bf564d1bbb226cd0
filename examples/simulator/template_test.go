package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequiredParameters(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want []string
	}{
		"a template may have none":       {`{"Resources":{}}`, nil},
		"AWS fills in its own":           {`{"Parameters":{"AWS::IoT::Certificate::Id":{"Type":"String"}}}`, nil},
		"one with a default is not sent": {`{"Parameters":{"Site":{"Type":"String","Default":""}}}`, nil},
		"the others are, in order":       {`{"Parameters":{"B":{"Type":"String"},"A":{"Type":"String"}}}`, []string{"A", "B"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := requiredParameters([]byte(test.body))
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func FuzzRequiredParameters(f *testing.F) {
	body, err := os.ReadFile("../aws/provisioning-template.json")
	require.NoError(f, err)
	f.Add(body)
	f.Add([]byte(`{"Parameters":{"A":{"Default":"a"},"B":{}}}`))
	f.Add([]byte(`{"Parameters":{"A":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := requiredParameters(body)
		if err != nil {
			assert.Zero(t, got)
		}
		for _, name := range got {
			assert.NotContains(t, name, "AWS::IoT::Certificate::Id")
		}
	})
}
