// Package operator sets a fleet up in an AWS account, so that its devices can provision
// themselves: a role, policies, templates, hooks and claims. It is the library of the
// command in cmd/fleetprov, and for back ends of whoever builds or installs the devices. A
// device needs none of it.
//
// [Open] an account, describe a [Fleet], and let [Account.PlanSetup] say what is to be
// done; [Plan.Run] does it. [TrustedClaim] gets a claim of five minutes for a device that
// is being installed.
//
// What is made in the account are the documents of [github.com/fleetprov/fleetprov/examples/aws].
package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Account is an AWS account in one region. [Open] makes it. It does not change, and is safe
// for concurrent use.
type Account struct {
	id, region string

	iot    *iot.Client
	iam    *iam.Client
	lambda *lambda.Client
	http   aws.HTTPClient // fetches the code of functions, which is not at an API

	pause func(context.Context, time.Duration) error
}

// Open returns the account whose credentials config has. It asks AWS which account that is,
// so that credentials that AWS does not accept are found before anything is done.
func Open(ctx context.Context, config aws.Config) (*Account, error) {
	if err := checkConfig(ctx, config); err != nil {
		return nil, err
	}
	identity, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, explain(err)
	}
	a := &Account{
		id:     aws.ToString(identity.Account),
		region: config.Region,
		iot:    iot.NewFromConfig(config),
		iam:    iam.NewFromConfig(config),
		lambda: lambda.NewFromConfig(config),
		http:   config.HTTPClient,
		pause:  pause,
	}
	if a.http == nil {
		a.http = http.DefaultClient
	}
	return a, nil
}

// checkConfig finds what the SDK would say in many words.
func checkConfig(ctx context.Context, config aws.Config) error {
	if config.Region == "" {
		return errors.New("no AWS region is set: give -region, or set AWS_REGION")
	}
	if config.Credentials == nil {
		return errNoCredentials(nil)
	}
	if _, err := config.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errNoCredentials(err)
	}
	return nil
}

// ID returns the number of the account, 12 digits.
func (a *Account) ID() string { return a.id }

// Region returns the region, such as eu-west-1.
func (a *Account) Region() string { return a.region }

// partition is what comes after "arn:" in the region.
func (a *Account) partition() string {
	switch {
	case strings.HasPrefix(a.region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(a.region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}

// arn returns the ARN of something of this account, in this region.
func (a *Account) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.partition(), service, a.region, a.id, resource)
}

func (a *Account) certificateARN(id string) string { return a.arn("iot", "cert/"+id) }

// roleARN is of a role without a path.
func (a *Account) roleARN(name string) string {
	return fmt.Sprintf("arn:%s:iam::%s:role/%s", a.partition(), a.id, name)
}

// managedPolicyARN is of one of the policies that AWS keeps for roles of services.
func (a *Account) managedPolicyARN(name string) string {
	return fmt.Sprintf("arn:%s:iam::aws:policy/service-role/%s", a.partition(), name)
}

// Endpoint returns the address that devices connect to: AWS_HOSTNAME of the examples.
func (a *Account) Endpoint(ctx context.Context) (string, error) {
	found, err := a.iot.DescribeEndpoint(ctx, &iot.DescribeEndpointInput{EndpointType: aws.String(endpointType)})
	if err != nil {
		return "", explain(err)
	}
	return aws.ToString(found.EndpointAddress), nil
}

// endpointType is of the endpoint whose certificate Amazon's own roots have signed.
const endpointType = "iot:Data-ATS"
