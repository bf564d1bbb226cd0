package operator

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// The services of AWS that take roles and call functions.
const (
	iotService    = "iot.amazonaws.com"
	lambdaService = "lambda.amazonaws.com"
)

// permission lets AWS IoT call a function for a template.
type permission struct {
	*Account
	function, template string
}

const permissionID = "aws-iot"

func (p permission) String() string {
	return "permission of AWS IoT to call the function " + p.function
}

func (a *Account) templateARN(name string) string { return a.arn("iot", "provisioningtemplate/"+name) }

func (p permission) look(ctx context.Context) error {
	may, err := p.mayCall(ctx, p.function, p.template)
	if err != nil {
		return absentIf(err)
	}
	if !may {
		return errAbsent
	}
	return nil
}

// mayCall reports whether AWS IoT may call a function for a template.
func (a *Account) mayCall(ctx context.Context, function, template string) (bool, error) {
	found, err := a.lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &function})
	if err != nil {
		return false, err
	}
	return letsService(aws.ToString(found.Policy), iotService, "lambda:InvokeFunction", source{a.id, a.templateARN(template)}), nil
}

// create replaces a statement of the same name, which is for something else.
func (p permission) create(ctx context.Context) error {
	err := p.add(ctx)
	if exists(err) {
		err = errors.Join(p.remove(ctx), p.add(ctx))
	}
	return err
}

func (p permission) add(ctx context.Context) error {
	_, err := p.lambda.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName:  &p.function,
		StatementId:   aws.String(permissionID),
		Action:        aws.String("lambda:InvokeFunction"),
		Principal:     aws.String(iotService),
		SourceAccount: &p.id,
		SourceArn:     aws.String(p.templateARN(p.template)),
	})
	return err
}

func (p permission) remove(ctx context.Context) error {
	_, err := p.lambda.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &p.function, StatementId: aws.String(permissionID)})
	return presentOr(err)
}
