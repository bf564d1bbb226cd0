package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/operator"
)

func retire(flags *flag.FlagSet) action {
	var in account
	var of fleet
	var thing string
	var remove, dryRun bool
	in.register(flags)
	of.register(flags)
	flags.StringVar(&thing, "thing", "", "`name` of the thing that the certificates must be attached to: that of the device that reported them")
	flags.BoolVar(&remove, "delete", false, "delete certificates that are inactive: those given, or all of the fleet's devices")
	flags.BoolVar(&dryRun, "dry-run", false, "say what is to be done, and do nothing")
	return func(ctx context.Context, t terminal, arguments []string) error {
		ids, err := readIDs(ctx, t.in, arguments)
		if err != nil {
			return err
		}
		if len(ids) == 0 && (!remove || len(arguments) > 0) {
			return usage("give the ids of certificates, or - to read them from the standard input")
		}
		if remove && thing != "" {
			return usage("-thing goes with retiring, not with -delete")
		}
		f, err := of.load()
		if err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		plan, err := planRetirement(ctx, a, f, remove, thing, ids)
		if err != nil {
			return err
		}
		present(t.out, plan)
		announce(t.out, plan)
		if dryRun {
			return nil
		}
		return carryOut(ctx, t.out, plan)
	}
}

func planRetirement(ctx context.Context, a *operator.Account, f operator.Fleet, remove bool, thing string, ids []string) (*operator.Plan, error) {
	switch {
	case remove:
		return a.PlanDelete(ctx, f, ids...)
	case thing != "":
		return a.PlanRetireOf(ctx, f, thing, ids...)
	default:
		return a.PlanRetire(ctx, f, ids...)
	}
}

// readIDs takes - for what is on the standard input, divided by white space.
func readIDs(ctx context.Context, in io.Reader, arguments []string) ([]string, error) {
	if !slices.Equal(arguments, []string{"-"}) {
		return arguments, nil
	}
	data, err := reading(ctx, func() ([]byte, error) { return io.ReadAll(in) })
	if err != nil {
		return nil, fmt.Errorf("reading the ids of certificates: %w", err)
	}
	return strings.Fields(string(data)), nil
}
