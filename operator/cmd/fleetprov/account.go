package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/fleetprov/fleetprov/operator"
)

// account is which account a command works in.
type account struct{ region, profile string }

func (a *account) register(flags *flag.FlagSet) {
	flags.StringVar(&a.region, "region", "", "AWS `region` (default that of the environment or of the profile)")
	flags.StringVar(&a.profile, "profile", "", "`profile` of the AWS CLI to take credentials from (default AWS_PROFILE)")
}

// config loads what the AWS CLI and SDKs have on this machine.
func (a *account) config(ctx context.Context) (aws.Config, error) {
	loaded, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(a.region),
		config.WithSharedConfigProfile(a.profile),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = 8 // AWS IoT's quotas are low
				o.MaxBackoff = 20 * time.Second
			})
		}),
	)
	var missing config.SharedConfigProfileNotExistError
	switch {
	case errors.As(err, &missing):
		return loaded, fmt.Errorf("the AWS CLI has no profile %q on this machine: check -profile and AWS_PROFILE, or make it with aws configure --profile", missing.Profile)
	case err != nil:
		return loaded, fmt.Errorf("reading what is configured for the AWS CLI: %w", err)
	}
	return loaded, nil
}

func (a *account) open(ctx context.Context) (*operator.Account, error) {
	config, err := a.config(ctx)
	if err != nil {
		return nil, err
	}
	return operator.Open(ctx, config)
}
