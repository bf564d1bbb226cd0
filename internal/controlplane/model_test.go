package controlplane

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

// awsModels is where Debian's awscli has the service models of AWS.
const awsModels = "/usr/lib/python3/dist-packages/awscli/botocore/data"

type awsModel struct {
	Operations map[string]struct {
		HTTP struct {
			Method, RequestURI string
			ResponseCode       int
		}
		Input struct{ Shape string }
	}
	Shapes map[string]awsShape
}

type awsShape struct {
	Type     string
	Required []string
	Members  map[string]struct{ Shape, Location, LocationName string }
	Min, Max *float64
	Pattern  string
	Enum     []string
}

// later are members that the model of Debian 12 is too old for.
var later = []string{"AttachThingPrincipal.thingPrincipalType"}

func readModel(t *testing.T, service, version string) awsModel {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(awsModels, service, version, "service-2.json"))
	if os.IsNotExist(err) {
		t.Skip("Debian's awscli is not installed")
	}
	require.NoError(t, err)
	var model awsModel
	require.NoError(t, json.Unmarshal(data, &model))
	return model
}

// The tables are what the models say, but for the members that are ignored here, and for
// those that are stricter or more lenient for a reason.
func TestOperationsAreThoseOfAWSsModels(t *testing.T) {
	for _, test := range []struct {
		service, version string
		operations       []operation
		lenient          []string // paths of members
	}{
		{"iot", "2015-05-28", iotOperations, []string{"UpdateProvisioningTemplate.defaultVersionId", "DescribeProvisioningTemplateVersion.versionId",
			"DeleteProvisioningTemplateVersion.versionId"}}, // any number, but it must be one
		{"iam", "2010-05-08", iamOperations, nil},
		{"sts", stsVersion, stsOperations, nil},
		{"lambda", "2015-03-31", lambdaOperations, []string{
			"CreateFunction.Runtime", // new ones come every year
			"CreateFunction.Timeout", // Lambda's own page has 900
			"UpdateFunctionCode.ZipFile",
			"UpdateFunctionConfiguration.Runtime",
			"UpdateFunctionConfiguration.Timeout",
			"CreateFunction.PackageType",
		}},
	} {
		t.Run(test.service, func(t *testing.T) {
			model := readModel(t, test.service, test.version)
			for _, o := range test.operations {
				described, ok := model.Operations[o.name]
				require.True(t, ok, o.name)
				if o.route != "" {
					route := strings.TrimSuffix(o.route, "{$}")
					if o.name != "ListFunctions" { // is served with and without the slash
						assert.Equal(t, described.HTTP.Method+" "+described.HTTP.RequestURI, route)
					}
					if described.HTTP.ResponseCode != 0 && described.HTTP.ResponseCode != 200 {
						assert.Equal(t, described.HTTP.ResponseCode, o.status, o.name)
					} else {
						assert.Zero(t, o.status, o.name)
					}
				}
				if described.Input.Shape != "" {
					assertMembers(t, model, described.Input.Shape, o.name, o.members, test.lenient)
				}
			}
		})
	}
}

func assertMembers(t *testing.T, model awsModel, shape, at string, members []member, lenient []string) {
	t.Helper()
	input := model.Shapes[shape]
	served := make(map[string]bool)
	for _, m := range members {
		served[m.name] = true
		where := at + "." + m.name
		described, ok := input.Members[m.name]
		if !ok && slices.Contains(later, where) {
			continue
		}
		require.True(t, ok, where)
		location := map[place]string{inBody: "", inPath: "uri", inQuery: "querystring", inHeader: "header"}[m.in]
		assert.Equal(t, location, described.Location, where)
		if described.LocationName != "" {
			assert.Equal(t, described.LocationName, m.wire, where)
		}
		if slices.Contains(lenient, where) {
			continue
		}
		assert.Equal(t, slices.Contains(input.Required, m.name), m.required, "%s is required", where)
		assertShape(t, model, described.Shape, where, m.shape, lenient)
	}
	for _, name := range input.Required {
		assert.True(t, served[name], "%s.%s is required", at, name)
	}
}

func assertShape(t *testing.T, model awsModel, name, where string, s shape, lenient []string) {
	t.Helper()
	described := model.Shapes[name]
	kinds := map[string]kind{"string": aText, "boolean": aFlag, "integer": aNumber, "blob": aBlob, "structure": anObject, "map": aMap}
	assert.Equal(t, kinds[described.Type], s.kind, where)
	switch s.kind {
	case anObject:
		assertMembers(t, model, name, where, s.members, lenient)
	case aText, aNumber:
		if !strings.HasSuffix(where, "FunctionName") { // in the models its length differs between operations
			assert.Equal(t, orElse(described.Min, 0), s.min, "%s: min", where)
			assert.Equal(t, orElse(described.Max, unbounded), s.max, "%s: max", where)
		}
		assert.Equal(t, described.Enum, s.enum, where)
		assertPattern(t, described.Pattern, s.pattern, where)
	}
}

// assertPattern compares with the pattern of a model, which is Java's and may match
// anything or be bounded twice.
func assertPattern(t *testing.T, described string, pattern *regexp.Regexp, where string) {
	t.Helper()
	if described == `[\s\S]*` || strings.Contains(described, `\p{L}`) || strings.HasPrefix(described, "arn:(aws[a-zA-Z-]*)?:lambda:[a-z]{2}") {
		described = ""
	}
	described = strings.TrimSuffix(strings.TrimPrefix(described, "^"), "$")
	described = strings.NewReplacer(`\u0009\u000A\u000D`, `\t\n\r`, `\u0020-\u00FF`, `\x{20}-\x{FF}`, `(\u002F)|(\u002F[\u0021-\u007F]+\u002F)`, `/|/[\x21-\x7F]+/`,
		`(lambda:[*]|lambda:[a-zA-Z]+|[*])`, `lambda:[*]|lambda:[a-zA-Z]+|[*]`, `([a-zA-Z0-9-_]+)`, `([a-zA-Z0-9-_]+)`, `([a-zA-Z0-9-_.]+)`, `([a-zA-Z0-9-_.]+)`).Replace(described)
	if pattern == nil {
		assert.Empty(t, described, "%s: pattern", where)
		return
	}
	own := strings.TrimSuffix(strings.TrimPrefix(pattern.String(), "^(?:"), ")$")
	own, described = strings.Trim(own, "()"), strings.Trim(described, "()")
	if strings.HasSuffix(where, "FunctionName") { // for some operations with dots, for versions
		described = strings.ReplaceAll(described, `_\.]`, `_]`)
	}
	assert.Equal(t, described, own, "%s: pattern", where)
}

func orElse(value *float64, otherwise int) int {
	if value == nil {
		return otherwise
	}
	return int(*value)
}
