package main

import (
	"context"
	"flag"
	"fmt"
)

func release(flags *flag.FlagSet) action {
	var in account
	var of fleet
	var dryRun bool
	in.register(flags)
	of.register(flags)
	flags.BoolVar(&dryRun, "dry-run", false, "say what is to be done, and do nothing")
	return func(ctx context.Context, t terminal, arguments []string) error {
		if len(arguments) == 0 {
			return usage("give a serial number")
		}
		f, err := of.load()
		if err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		plan, err := a.PlanRelease(ctx, f, arguments...)
		if err != nil {
			return err
		}
		present(t.out, plan)
		announce(t.out, plan)
		if dryRun {
			return nil
		}
		if err := carryOut(ctx, t.out, plan); err != nil {
			return err
		}
		fmt.Fprintln(t.out, "the devices can register anew, if their serial numbers are on the list")
		return nil
	}
}
