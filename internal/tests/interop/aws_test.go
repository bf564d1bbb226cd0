package interop_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestAWSDocumentsAreThoseOfTheirReadme(t *testing.T) {
	entries, err := os.ReadDir(provtest.Root(t, "examples/aws"))
	require.NoError(t, err)
	var names, documents []string
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case ".json":
			document, err := os.ReadFile(provtest.Root(t, "examples/aws", entry.Name()))
			require.NoError(t, err)
			assert.True(t, json.Valid(document), "%s is JSON", entry.Name())
			documents = append(documents, entry.Name())
		case ".md":
			continue
		}
		if !entry.IsDir() && entry.Name() != "aws.go" {
			names = append(names, entry.Name())
		}
	}
	assert.ElementsMatch(t, names, awsReadme(t, `(?m)^\| .(\S+\.\w+). \|`), "files in the table")
	assert.ElementsMatch(t, documents, awsReadme(t, `file://filled/(\S+\.json)`), "files in the commands")
}

type awsTemplate struct {
	Parameters map[string]any
	Resources  awsTemplateResources
}

type awsTemplateResources struct {
	Thing struct {
		Properties       struct{ ThingName map[string]any }
		OverrideSettings map[string]string
	}
	Certificate            struct{ Properties struct{ Status string } }
	Policy, RotationPolicy struct{ Properties struct{ PolicyName string } }
}

// A name that two documents or commands spell differently fails only at AWS.
func TestAWSDocumentsAgreeOnNames(t *testing.T) {
	one := func(pattern string) string {
		t.Helper()
		found := awsReadme(t, pattern)
		require.Len(t, unique(found), 1, "%s finds %q", pattern, found)
		return found[0]
	}
	var template, rotation awsTemplate
	readAWSDocument(t, "provisioning-template.json", &template)
	readAWSDocument(t, "rotation-template.json", &rotation)

	for _, resources := range []awsTemplateResources{template.Resources, rotation.Resources} {
		assert.Equal(t, one(`create-policy --policy-name (\S+) \\\s+--policy-document file://filled/device-policy\.json`), resources.Policy.Properties.PolicyName)
		assert.Equal(t, one(`create-policy --policy-name (\S+) \\\s+--policy-document file://filled/rotation-policy\.json`), resources.RotationPolicy.Properties.PolicyName)
	}
	policies := template.Resources.Policy.Properties.PolicyName + " " + template.Resources.RotationPolicy.Properties.PolicyName
	assert.Equal(t, policies, one(`for policy in (\S+ \S+); do`), "a certificate loses the policies it got")
	assert.Equal(t, policies+" fleet-claim-policy", one(`for policy in (\S+ \S+ \S+); do`), "all are deleted")
	assert.Equal(t, one(`attach-policy --policy-name (\S+) `),
		one(`create-policy --policy-name (\S+) \\\s+--policy-document file://filled/claim-policy\.json`))

	created := awsReadme(t, `create-role --role-name (\S+)`)
	for _, use := range []string{` attach-role-policy --role-name (\S+)`, `:role/([\w-]+)`, `delete-role --role-name (\S+)`} {
		used := unique(awsReadme(t, use))
		assert.Subset(t, created, used)
		assert.Subset(t, used, created)
	}

	const body = ` \\\n(?:  .*\\\n)*?  --template-body file://filled/`
	name := one(`--template-name (\S+)` + body + `provisioning-template\.json`)
	assert.Equal(t, name, one(`TEMPLATE_NAME=(\S+)`))
	assertAWSTemplateOfPolicy(t, name, "claim-policy.json")
	rotationName := one(`--template-name (\S+)` + body + `rotation-template\.json`)
	assert.Equal(t, []string{name, rotationName}, unique(awsReadme(t, `provisioningtemplate/([\w-]+)`)), "who may call the hooks")
	assert.Equal(t, name+" "+rotationName, one(`for template in (.*); do`))
	assert.Equal(t, strings.Join(unique(awsReadme(t, `create-function --function-name (\S+)`)), " "), one(`for hook in (.*); do`))
	assertAWSTemplateOfPolicy(t, rotationName, "rotation-policy.json")

	serial := one(`examples/provisioning -param SerialNumber=(\S+)`)
	assert.Contains(t, template.Parameters, "SerialNumber")
	assert.Contains(t, template.Parameters, "AWS::IoT::Certificate::Id")
	assert.Len(t, template.Parameters, 2, "what the README's command gives, and what AWS fills in")
	assert.Equal(t, map[string]any{"Fn::Join": []any{"", []any{"device-", map[string]any{"Ref": "SerialNumber"}}}}, template.Resources.Thing.Properties.ThingName)
	assert.Equal(t, "device-"+serial, one("registers the thing `(\\S+)`"))
}

// unique returns the different strings among all, in the order of their first.
func unique(all []string) []string {
	var different []string
	for _, one := range all {
		if !slices.Contains(different, one) {
			different = append(different, one)
		}
	}
	return different
}

// A renewal adds a certificate to a thing and changes nothing else of it.
func TestAWSRotationTemplateKeepsTheThing(t *testing.T) {
	var rotation awsTemplate
	readAWSDocument(t, "rotation-template.json", &rotation)
	assert.Equal(t, map[string]any{
		"ThingName":                 map[string]any{"Type": "String"},
		"AWS::IoT::Certificate::Id": map[string]any{"Type": "String"},
	}, rotation.Parameters, "what a device that renews sends, and what AWS fills in")
	assert.Equal(t, map[string]any{"Ref": "ThingName"}, rotation.Resources.Thing.Properties.ThingName)
	assert.Equal(t, map[string]string{
		"AttributePayload": "DO_NOTHING",
		"ThingTypeName":    "DO_NOTHING",
		"ThingGroups":      "DO_NOTHING",
	}, rotation.Resources.Thing.OverrideSettings)
	assert.Equal(t, "ACTIVE", rotation.Resources.Certificate.Properties.Status)
}

// assertAWSTemplateOfPolicy checks which template a policy is about.
func assertAWSTemplateOfPolicy(t *testing.T, template, policy string) {
	t.Helper()
	for _, statement := range readAWSPolicies(t)[policy].Statement {
		for _, resource := range statement.Resource {
			if _, level, found := strings.Cut(resource, "$aws/provisioning-templates/"); found {
				assert.Equal(t, template+"/provision/*", level)
			}
		}
	}
}

func readAWSDocument(t *testing.T, name string, document any) {
	t.Helper()
	data, err := os.ReadFile(provtest.Root(t, "examples/aws", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, document), name)
}

// awsReadme returns what the first group of pattern finds in the README.
func awsReadme(t *testing.T, pattern string) []string {
	t.Helper()
	readme, err := os.ReadFile(provtest.Root(t, "examples/aws/README.md"))
	require.NoError(t, err)
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(readme), -1) {
		found = append(found, match[1])
	}
	return found
}

// Without the account, everything would be filled in wrong without a word.
func TestAWSReadmeStopsWhenTheAccountIsEmpty(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	block := awsReadme(t, "(?s)```sh\n(umask.*?)```")[0]
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "policy.json"), []byte(`"REGION:ACCOUNT_ID"`), 0o600))
	for name, test := range map[string]struct{ account, filled string }{
		"no account": {"", ""},
		"an account": {"123456789012", `"eu-west-1:123456789012"`},
	} {
		t.Run(name, func(t *testing.T) {
			program := exec.CommandContext(provtest.Context(t), sh, "-c", "aws() { echo '"+test.account+"'; }\n"+block)
			program.Dir = dir
			output, err := program.CombinedOutput()
			if test.filled == "" {
				assert.Error(t, err)
				assert.Contains(t, string(output), "ACCOUNT_ID")
				assert.NoDirExists(t, filepath.Join(dir, "filled"))
				return
			}
			require.NoError(t, err, "%s", output)
			filled, err := os.ReadFile(filepath.Join(dir, "filled", "policy.json"))
			require.NoError(t, err)
			assert.Equal(t, test.filled, string(filled))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "filled")))
		})
	}
}
