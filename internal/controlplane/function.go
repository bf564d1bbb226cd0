package controlplane

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/pyfunction"
)

// function is a function of Lambda. Its functions guard it; the code guards itself.
type function struct {
	name, arn, role, runtime, handler, description string
	timeout, memory                                int
	variables                                      map[string]string
	archive                                        []byte
	sha256, revision                               string
	modified                                       time.Time
	policy                                         trust
	code                                           *pyfunction.Function // nil: not in Python, so it cannot be run
}

// functions are the functions of the account, by name.
type functions struct {
	mu     *sync.Mutex // guards the rest
	byName map[string]*function
}

func newFunctions() functions { return functions{new(sync.Mutex), make(map[string]*function)} }

// close ends what the functions are running.
func (f functions) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.byName {
		one.end()
	}
}

// configure takes over what a request says of the configuration.
func (f *function) configure(in input) {
	for name, field := range map[string]*string{"Role": &f.role, "Runtime": &f.runtime, "Handler": &f.handler, "Description": &f.description} {
		if in.given(name) {
			*field = in.text(name)
		}
	}
	if in.given("Timeout") {
		f.timeout = in.number("Timeout")
	}
	if in.given("MemorySize") {
		f.memory = in.number("MemorySize")
	}
	if in.given("Environment") {
		f.variables = in.object("Environment").stringMap("Variables")
	}
}

// end ends what a function is running. That its directory cannot be removed concerns nobody.
func (f *function) end() {
	if f.code != nil {
		_ = f.code.Close()
	}
}

// nameOf returns the name of a function, which may be given as an ARN, whole or in part.
func nameOf(given string) string {
	given = strings.TrimSuffix(given, ":$LATEST")
	return given[strings.LastIndex(given, ":")+1:]
}

// byARN returns a copy of a function.
func (f functions) byARN(arn string) (function, error) {
	name, ok := resource(arn, "lambda", "function:")
	if !ok {
		return function{}, fmt.Errorf("%q is not the ARN of a function in the account %s", arn, iotregistry.Account)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.byName[nameOf(name)]
	if found == nil {
		return function{}, fmt.Errorf("there is no function %s", arn)
	}
	return *found, nil
}

// environment returns the variables that Lambda sets and that AWS's SDKs read, and in
// AWS_ENDPOINT_URL where this server is. Of the others, those of this process stay but for
// credentials and proxies, and the function's own go before all.
func (f *function) environment(in input) []string {
	all := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(variable), "=")
		return strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "PYTHON") || strings.HasSuffix(name, "_PROXY")
	})
	set := map[string]string{
		"AWS_ENDPOINT_URL":          in.origin,
		"AWS_REGION":                in.region,
		"AWS_DEFAULT_REGION":        in.region,
		"AWS_ACCESS_KEY_ID":         "AKIAIOSFODNN7EXAMPLE",
		"AWS_SECRET_ACCESS_KEY":     "example",
		"AWS_LAMBDA_FUNCTION_NAME":  f.name,
		"AWS_EC2_METADATA_DISABLED": "true",
		"PYTHONDONTWRITEBYTECODE":   "1",
	}
	maps.Copy(set, f.variables)
	for name, value := range set {
		all = append(all, name+"="+value)
	}
	return all
}

func (f *function) output() output {
	variables := f.variables
	if variables == nil {
		variables = map[string]string{}
	}
	return output{
		"FunctionName":     f.name,
		"FunctionArn":      f.arn,
		"Role":             f.role,
		"Runtime":          f.runtime,
		"Handler":          f.handler,
		"Description":      f.description,
		"Timeout":          f.timeout,
		"MemorySize":       f.memory,
		"Environment":      output{"Variables": variables},
		"CodeSize":         len(f.archive),
		"CodeSha256":       f.sha256,
		"RevisionId":       f.revision,
		"LastModified":     f.modified.UTC().Format("2006-01-02T15:04:05.000-0700"),
		"PackageType":      "Zip",
		"Version":          "$LATEST",
		"State":            "Active",
		"LastUpdateStatus": "Successful",
	}
}
