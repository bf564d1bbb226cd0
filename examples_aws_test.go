package fleetprov_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const awsDirectory = "examples/aws"

func TestAWSDocumentsAreThoseOfTheirReadme(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(awsDirectory, "*.json"))
	require.NoError(t, err)
	var names []string
	for _, path := range paths {
		document, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, json.Valid(document), "%s is JSON", path)
		names = append(names, filepath.Base(path))
	}
	assert.ElementsMatch(t, names, awsReadme(t, `(?m)^\| .(\S+\.json). \|`), "files in the table")
	assert.ElementsMatch(t, names, awsReadme(t, `file://filled/(\S+\.json)`), "files in the commands")
}

// A name that two documents or commands spell differently fails only at AWS.
func TestAWSDocumentsAgreeOnNames(t *testing.T) {
	one := func(pattern string) string {
		found := awsReadme(t, pattern)
		require.Len(t, slices.Compact(slices.Clone(found)), 1, "%s finds %q", pattern, found)
		return found[0]
	}
	var template struct {
		Parameters map[string]any
		Resources  struct {
			Thing struct {
				Properties struct {
					ThingName struct {
						Join []any `json:"Fn::Join"`
					}
				}
			}
			Policy struct{ Properties struct{ PolicyName string } }
		}
	}
	readAWSDocument(t, "provisioning-template.json", &template)

	assert.Equal(t, template.Resources.Policy.Properties.PolicyName,
		one(`create-policy --policy-name (\S+) \\\s+--policy-document file://filled/device-policy\.json`))
	assert.Equal(t, one(`attach-policy --policy-name (\S+) `),
		one(`create-policy --policy-name (\S+) \\\s+--policy-document file://filled/claim-policy\.json`))
	one(`(?:--role-name |:role/)([\w-]+)`)

	name := one(`(?:--template-name |TEMPLATE_NAME=)(\S+)`)
	for _, statement := range readAWSPolicy(t, "claim-policy.json").Statement {
		for _, resource := range statement.Resource {
			if _, level, found := strings.Cut(resource, "$aws/provisioning-templates/"); found {
				assert.Equal(t, name+"/provision/*", level)
			}
		}
	}

	serial := one(`-param SerialNumber=(\S+)`)
	assert.Contains(t, template.Parameters, "SerialNumber")
	assert.Contains(t, template.Parameters, "AWS::IoT::Certificate::Id")
	assert.Len(t, template.Parameters, 2, "what the README's command gives, and what AWS fills in")
	assert.Equal(t, []any{"", []any{"device-", map[string]any{"Ref": "SerialNumber"}}}, template.Resources.Thing.Properties.ThingName.Join)
	assert.Equal(t, "device-"+serial, one("registers the thing `(\\S+)`"))
}

func readAWSDocument(t *testing.T, name string, document any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(awsDirectory, name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, document), name)
}

// awsReadme returns what the first group of pattern finds in the README.
func awsReadme(t *testing.T, pattern string) []string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(awsDirectory, "README.md"))
	require.NoError(t, err)
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(readme), -1) {
		found = append(found, match[1])
	}
	return found
}
