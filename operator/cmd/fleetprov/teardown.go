package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/fleetprov/fleetprov/operator"
)

func teardown(flags *flag.FlagSet) action {
	var in account
	var of fleet
	var claimFile string
	var keepDevices, replace, dryRun, yes bool
	in.register(flags)
	of.register(flags)
	flags.StringVar(&claimFile, "out", "claim_identity.pfx", "`file` of the claim, as it was given to setup; claims that were cut off are found by their files in its directory")
	flags.BoolVar(&keepDevices, "keep-devices", false, "leave things, their certificates and policies, so that devices go on working")
	flags.BoolVar(&replace, "replace", false, "remove what has the fleet's names and is different from what setup makes, too")
	flags.BoolVar(&dryRun, "dry-run", false, "say what is to be done, and do nothing")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	return func(ctx context.Context, t terminal, arguments []string) error {
		if len(arguments) > 0 {
			return usage("unexpected argument %q", arguments[0])
		}
		f, err := of.load()
		if err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		plan, err := a.PlanTeardown(ctx, operator.Setup{Fleet: f, ClaimFile: claimFile, Replace: replace}, keepDevices)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.out, "Account %s, region %s\n", a.ID(), a.Region())
		present(t.out, plan)
		announce(t.out, plan)
		switch {
		case dryRun:
			return nil
		case len(plan.Steps) == 0:
			fmt.Fprintln(t.out, "there is nothing to remove")
			return nil
		case !yes:
			if err := ask(ctx, t, "This cannot be undone.", a.ID()); err != nil {
				return fmt.Errorf("%w: nothing was removed", err)
			}
		}
		return carryOut(ctx, t.out, plan)
	}
}
