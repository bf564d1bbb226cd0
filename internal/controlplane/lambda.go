package controlplane

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotservice"
	"github.com/fleetprov/fleetprov/internal/pyfunction"
)

var (
	functionShape = text(1, 170, `(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?`)
	functionName  = uri("FunctionName", functionShape)
	lambdaRole    = text(0, unbounded, `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`)
	lambdaRuntime = text(1, unbounded, `[a-z]+[a-z0-9.-]*`) // AWS adds one every few months
	environment   = object(body("Variables", stringMap))
)

// maxFunctionName is the length of a name; that of functionShape is of an ARN
// (API_CreateFunction).
const maxFunctionName = 64

const functionsPath = "/2015-03-31/functions"

// lambdaOperations are those of Lambda, version 2015-03-31.
var lambdaOperations = []operation{
	{"CreateFunction", "POST " + functionsPath, []member{
		must(body("FunctionName", functionShape)), must(body("Role", lambdaRole)), must(body("Code", object(body("ZipFile", blob)))),
		body("Runtime", lambdaRuntime), body("Handler", text(0, 128, `[^\s]+`)), body("Description", text(0, 256, "")),
		body("Timeout", number(1, 900)), body("MemorySize", number(128, 10240)), body("Environment", environment),
		body("PackageType", oneOf("Zip", "Image")),
	}, http.StatusCreated, (*plane).createFunction},
	{"UpdateFunctionCode", "PUT " + functionsPath + "/{FunctionName}/code", []member{
		functionName, must(body("ZipFile", blob)), body("RevisionId", anyText),
	}, 0, (*plane).updateFunctionCode},
	{"UpdateFunctionConfiguration", "PUT " + functionsPath + "/{FunctionName}/configuration", []member{
		functionName, body("Role", lambdaRole), body("Runtime", lambdaRuntime), body("Handler", text(0, 128, `[^\s]+`)),
		body("Description", text(0, 256, "")), body("Timeout", number(1, 900)), body("MemorySize", number(128, 10240)),
		body("Environment", environment), body("RevisionId", anyText),
	}, 0, (*plane).updateFunctionConfiguration},
	{"GetFunction", "GET " + functionsPath + "/{FunctionName}", []member{functionName}, 0, (*plane).getFunction},
	{"GetFunctionConfiguration", "GET " + functionsPath + "/{FunctionName}/configuration", []member{functionName}, 0, (*plane).getFunctionConfiguration},
	{"DeleteFunction", "DELETE " + functionsPath + "/{FunctionName}", []member{functionName}, http.StatusNoContent, (*plane).deleteFunction},
	{"ListFunctions", "GET " + functionsPath, nil, 0, (*plane).listFunctions},
	{"ListFunctions", "GET " + functionsPath + "/{$}", nil, 0, (*plane).listFunctions},
	{"AddPermission", "POST " + functionsPath + "/{FunctionName}/policy", []member{
		functionName, must(body("StatementId", text(1, 100, `[a-zA-Z0-9-_]+`))),
		must(body("Action", text(0, unbounded, `lambda:[*]|lambda:[a-zA-Z]+|[*]`))), must(body("Principal", text(0, unbounded, `[^\s]+`))),
		body("SourceArn", text(0, unbounded, `arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}(-gov)?-[a-z]+-\d{1})?:(\d{12})?:(.*)`)),
		body("SourceAccount", text(0, 12, `\d{12}`)),
	}, http.StatusCreated, (*plane).addPermission},
	{"GetPolicy", "GET " + functionsPath + "/{FunctionName}/policy", []member{functionName}, 0, (*plane).getFunctionPolicy},
	{"RemovePermission", "DELETE " + functionsPath + "/{FunctionName}/policy/{StatementId}", []member{
		functionName, uri("StatementId", text(1, 100, `[a-zA-Z0-9-_.]+`)),
	}, http.StatusNoContent, (*plane).removePermission},
}

// hookTimeout is how long AWS IoT waits for a hook (provision-wo-cert).
const hookTimeout = 5 * time.Second

// invoke implements [Plane.Invoke].
func (p *plane) invoke(targetARN string, request iotservice.HookRequest) (answer iotservice.HookResponse, err error) {
	found, err := p.functions.byARN(targetARN)
	switch {
	case err != nil:
		return answer, err
	case !found.policy.allows("iot.amazonaws.com", "lambda:InvokeFunction", request.TemplateARN):
		return answer, fmt.Errorf("AWS IoT may not call the function %s for %s: add a permission to the function", found.name, request.TemplateARN)
	case found.code == nil:
		return answer, fmt.Errorf("the function %s cannot be run: only Python is run here, not %s", found.name, found.runtime)
	}
	ctx, cancel := context.WithTimeout(p.ctx, min(hookTimeout, time.Duration(found.timeout)*time.Second))
	defer cancel()
	if err := found.code.Invoke(ctx, request, &answer); err != nil {
		return iotservice.HookResponse{}, fmt.Errorf("the function %s: %w", found.name, err)
	}
	return answer, nil
}

// use calls do with the function of a request.
func (p *plane) use(in input, do func(*function) error) error {
	p.functions.mu.Lock()
	defer p.functions.mu.Unlock()
	found := p.functions.byName[nameOf(in.text("FunctionName"))]
	if found == nil {
		return fail("ResourceNotFoundException", "Function not found: %s", in.arn("lambda", "function:"+nameOf(in.text("FunctionName"))))
	}
	return do(found)
}

func errRole(err error) error {
	return fail("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda. (%v)", err)
}

func (p *plane) createFunction(in input) (output, error) {
	if _, err := p.roles.assume(in.text("Role"), "lambda.amazonaws.com"); err != nil {
		return nil, errRole(err)
	}
	name := nameOf(in.text("FunctionName"))
	switch {
	case len(name) > maxFunctionName:
		return nil, fail(lambdaAPI.invalid, "1 validation error detected: Value '%s' at 'FunctionName' failed to satisfy constraint: Member must have length less than or equal to %d", name, maxFunctionName)
	case in.text("PackageType") == "Image" || !in.object("Code").given("ZipFile"):
		return nil, fail("InvalidParameterValueException", "Only functions in a ZIP archive that comes with the request are served here.")
	case !in.given("Runtime"):
		return nil, fail("InvalidParameterValueException", "Runtime is mandatory for functions created with deployment packages.")
	case !in.given("Handler"):
		return nil, fail("InvalidParameterValueException", "Handler is mandatory for functions created with deployment packages.")
	}
	made := &function{
		name:    name,
		arn:     in.arn("lambda", "function:"+name),
		timeout: 3, // seconds (API_CreateFunction)
		memory:  128,
	}
	made.configure(in)
	if err := p.load(in, made, in.object("Code").blob("ZipFile")); err != nil {
		return nil, err
	}
	p.functions.mu.Lock()
	defer p.functions.mu.Unlock()
	if p.functions.byName[name] != nil {
		made.end()
		return nil, fail("ResourceConflictException", "Function already exist: %s", name)
	}
	p.functions.byName[name] = made
	return made.output(), nil
}

// load gives a function its code, and starts a process, so that the first device need not
// wait for one. That it cannot be started is found out by who calls the function, as with
// Lambda.
func (p *plane) load(in input, f *function, archive []byte) error {
	if err := pyfunction.CheckArchive(archive); err != nil {
		return fail("InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again. (%v)", err)
	}
	f.archive, f.modified, f.revision = archive, p.account.Now(), rand.Text()
	sum := sha256.Sum256(archive)
	f.sha256 = base64.StdEncoding.EncodeToString(sum[:])
	f.code = nil
	if !strings.HasPrefix(f.runtime, "python") {
		return nil
	}
	logger := p.account.Logger.With("function", f.name)
	code, err := pyfunction.New(archive, f.handler, f.environment(in), printed{logger})
	if err != nil {
		return fail("InternalFailureException", "The archive could not be unpacked: %v", err)
	}
	if err := code.Warm(p.ctx); err != nil {
		logger.Warn("the function could not be started", "error", err)
	}
	f.code = code
	return nil
}

// printed logs what a function prints.
type printed struct{ logger *slog.Logger }

func (w printed) Write(data []byte) (int, error) {
	for line := range bytes.Lines(data) {
		w.logger.Info("printed by the function", "line", strings.TrimSpace(string(line)))
	}
	return len(data), nil
}

func (p *plane) updateFunctionCode(in input) (output, error) {
	return p.updateFunction(in, func(*function) []byte { return in.blob("ZipFile") })
}

func (p *plane) updateFunctionConfiguration(in input) (output, error) {
	if in.given("Role") {
		if _, err := p.roles.assume(in.text("Role"), "lambda.amazonaws.com"); err != nil {
			return nil, errRole(err)
		}
	}
	return p.updateFunction(in, func(updated *function) []byte {
		updated.configure(in)
		return updated.archive
	})
}

// updateFunction replaces a function by one that change has changed, which runs the archive
// that change returns. Of two at once, the one that is ready last fails.
func (p *plane) updateFunction(in input, change func(*function) []byte) (output, error) {
	var updated function
	err := p.use(in, func(f *function) error {
		updated = *f
		return checkRevision(in, f)
	})
	begun := updated.revision
	if err != nil {
		return nil, err
	}
	if err := p.load(in, &updated, change(&updated)); err != nil {
		return nil, err
	}
	var before function
	err = p.use(in, func(f *function) error {
		if err := checkRevision(in, f); err != nil {
			return err
		}
		if f.revision != begun {
			return fail("ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: %s", f.arn)
		}
		before = *f
		updated.policy = f.policy
		*f = updated
		return nil
	})
	if err != nil {
		updated.end() // it was changed or deleted meanwhile
		return nil, err
	}
	before.end()
	return updated.output(), nil
}

// checkRevision fails if a request is about another revision of a function.
func checkRevision(in input, f *function) error {
	if in.given("RevisionId") && in.text("RevisionId") != f.revision {
		return fail("PreconditionFailedException", "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the latest RevisionId")
	}
	return nil
}

func (p *plane) getFunction(in input) (answer output, err error) {
	err = p.use(in, func(f *function) error {
		answer = output{
			"Configuration": f.output(),
			"Code":          output{"RepositoryType": "S3", "Location": in.origin + codePath + f.name},
		}
		return nil
	})
	return answer, err
}

func (p *plane) getFunctionConfiguration(in input) (answer output, err error) {
	err = p.use(in, func(f *function) error {
		answer = f.output()
		return nil
	})
	return answer, err
}

func (p *plane) deleteFunction(in input) (output, error) {
	var deleted function
	err := p.use(in, func(f *function) error {
		deleted = *f
		delete(p.functions.byName, f.name)
		return nil
	})
	deleted.end()
	return nil, err
}

func (p *plane) listFunctions(input) (output, error) {
	p.functions.mu.Lock()
	defer p.functions.mu.Unlock()
	all := []any{}
	for _, name := range slices.Sorted(maps.Keys(p.functions.byName)) {
		all = append(all, p.functions.byName[name].output())
	}
	return output{"Functions": all}, nil
}

func (p *plane) addPermission(in input) (output, error) {
	added := permission{
		SID:       in.text("StatementId"),
		Effect:    "Allow",
		Principal: principals{Service: many[string]{in.text("Principal")}},
		Action:    many[string]{in.text("Action")},
		Condition: make(map[string]map[string]many[string]),
	}
	if in.given("SourceAccount") {
		added.Condition["StringEquals"] = map[string]many[string]{"AWS:SourceAccount": {in.text("SourceAccount")}}
	}
	if in.given("SourceArn") {
		added.Condition["ArnLike"] = map[string]many[string]{"AWS:SourceArn": {in.text("SourceArn")}}
	}
	err := p.use(in, func(f *function) error {
		if slices.ContainsFunc(f.policy.Statement, func(s permission) bool { return s.SID == added.SID }) {
			return fail("ResourceConflictException", "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", added.SID)
		}
		added.Resource = f.arn
		f.policy.Version, f.policy.ID = "2012-10-17", "default"
		f.policy.Statement = append(slices.Clone(f.policy.Statement), added)
		return nil
	})
	if err != nil {
		return nil, err
	}
	statement, err := json.Marshal(added)
	return output{"Statement": string(statement)}, err
}

// errNoPolicy is for a function without permissions.
var errNoPolicy = &apiError{"ResourceNotFoundException", "The resource you requested does not exist."}

func (p *plane) getFunctionPolicy(in input) (output, error) {
	var document []byte
	err := p.use(in, func(f *function) (err error) {
		if len(f.policy.Statement) == 0 {
			return errNoPolicy
		}
		document, err = json.Marshal(f.policy)
		return err
	})
	return output{"Policy": string(document)}, err
}

func (p *plane) removePermission(in input) (output, error) {
	return nil, p.use(in, func(f *function) error {
		i := slices.IndexFunc(f.policy.Statement, func(s permission) bool { return s.SID == in.text("StatementId") })
		if i < 0 {
			return fail("ResourceNotFoundException", "Statement %s is not found in resource policy.", in.text("StatementId"))
		}
		f.policy.Statement = slices.Delete(slices.Clone(f.policy.Statement), i, i+1)
		return nil
	})
}
