package operator

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// The function of a hook. AWS IoT waits 5 seconds for it (pre-provisioning-hook), and a
// function with more memory starts faster.
const (
	hookRuntime = types.RuntimePython313
	hookTimeout = 5   // seconds
	hookMemory  = 512 // MB
)

// notYet is what AWS Lambda answers for some seconds after the role of a function was made.
const notYet = "InvalidParameterValueException"

// maxWait is how long a new or changed function may take until it can be called.
const maxWait = 2 * time.Minute

// hook is a function of AWS Lambda that AWS IoT calls for each registration.
type hook struct {
	*Account
	name, role string
	module     string // its file in examples/aws without .py
	variables  map[string]string
	list       bool // it has a list of serial numbers
}

func (h hook) String() string { return "function " + h.name }

// listFile has the serial numbers in the archive of a hook.
const listFile = "serial-numbers.txt"

// archive is the function with an empty list.
func (h hook) archive() archive {
	a := archive{h.module + ".py": string(read(h.module + ".py"))}
	if h.list {
		a[listFile] = ""
	}
	return a
}

func (h hook) handler() string { return h.module + ".handler" }

func (h hook) look(ctx context.Context) error {
	found, err := h.function(ctx, h.name)
	if err != nil {
		return absentIf(err)
	}
	c := found.Configuration
	var variables map[string]string
	if c.Environment != nil {
		variables = c.Environment.Variables
	}
	deployed, err := h.fetch(ctx, aws.ToString(found.Code.Location))
	if err != nil {
		return err
	}
	loss := ""
	if _, ok := deployed[listFile]; h.list && !ok {
		loss = "; it has no " + listFile + ", so that the list is empty once it is replaced"
	}
	switch {
	case aws.ToString(c.Handler) != h.handler() || c.Runtime != hookRuntime,
		aws.ToInt32(c.Timeout) != hookTimeout || aws.ToInt32(c.MemorySize) != hookMemory,
		!strings.HasSuffix(aws.ToString(c.Role), ":role/"+h.role),
		!maps.Equal(variables, h.variables):
		return difference("it is configured in another way than this fleet needs" + loss)
	}
	wanted := h.archive()
	if h.list {
		wanted[listFile] = deployed[listFile]
	}
	if !maps.Equal(deployed, wanted) {
		return difference("it runs other code than this fleet needs" + loss)
	}
	return nil
}

// function returns what AWS Lambda has of a function.
func (a *Account) function(ctx context.Context, name string) (*lambda.GetFunctionOutput, error) {
	found, err := a.lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
	switch {
	case err != nil:
		return nil, err
	case found.Code == nil || found.Configuration == nil:
		return nil, errors.New("AWS Lambda did not say where the code of the function " + name + " is")
	}
	return found, nil
}

func (h hook) create(ctx context.Context) error {
	code, err := h.archive().zip()
	if err != nil {
		return err
	}
	err = h.eventually(ctx, func() error {
		_, err := h.lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
			FunctionName: &h.name,
			Role:         aws.String(h.roleARN(h.role)),
			Runtime:      hookRuntime,
			Handler:      aws.String(h.handler()),
			Timeout:      aws.Int32(hookTimeout),
			MemorySize:   aws.Int32(hookMemory),
			Environment:  &types.Environment{Variables: h.variables},
			Code:         &types.FunctionCode{ZipFile: code},
		})
		return err
	}, notYet)
	if err != nil {
		return err
	}
	return lambda.NewFunctionActiveV2Waiter(h.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &h.name}, maxWait)
}

// replace keeps the list.
func (h hook) replace(ctx context.Context) error {
	err := h.eventually(ctx, func() error {
		_, err := h.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
			FunctionName: &h.name,
			Role:         aws.String(h.roleARN(h.role)),
			Runtime:      hookRuntime,
			Handler:      aws.String(h.handler()),
			Timeout:      aws.Int32(hookTimeout),
			MemorySize:   aws.Int32(hookMemory),
			Environment:  &types.Environment{Variables: h.variables},
		})
		return err
	}, notYet)
	if err != nil {
		return err
	}
	if err := h.updated(ctx, h.name); err != nil {
		return err
	}
	return h.changeCode(ctx, h.name, func(deployed archive) archive {
		wanted := h.archive()
		if list, ok := deployed[listFile]; ok && h.list {
			wanted[listFile] = list
		}
		return wanted
	})
}

// updated waits until a function has changed.
func (a *Account) updated(ctx context.Context, name string) error {
	return lambda.NewFunctionUpdatedV2Waiter(a.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, maxWait)
}

// changeCode gives a function the code that edit makes of the one that it has. It begins anew
// if somebody else changes the function at the same time.
func (a *Account) changeCode(ctx context.Context, name string, edit func(archive) archive) error {
	err := a.tryChange(ctx, name, edit)
	for attempts := 1; attempts < 3 && isCode(err, "PreconditionFailedException"); attempts++ {
		err = a.tryChange(ctx, name, edit)
	}
	if err != nil {
		return err
	}
	return a.updated(ctx, name)
}

func (a *Account) tryChange(ctx context.Context, name string, edit func(archive) archive) error {
	found, err := a.function(ctx, name)
	if err != nil {
		return err
	}
	deployed, err := a.fetch(ctx, aws.ToString(found.Code.Location))
	if err != nil {
		return err
	}
	code, err := edit(deployed).zip()
	if err != nil {
		return err
	}
	_, err = a.lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: code, RevisionId: found.Configuration.RevisionId})
	return err
}

func (h hook) remove(ctx context.Context) error {
	_, err := h.lambda.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &h.name})
	return presentOr(err)
}
