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
	var remove, dryRun bool
	in.register(flags)
	of.register(flags)
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
		f, err := of.load()
		if err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		plan, err := planRetirement(ctx, a, f, remove, ids)
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

func planRetirement(ctx context.Context, a *operator.Account, f operator.Fleet, remove bool, ids []string) (*operator.Plan, error) {
	if remove {
		return a.PlanDelete(ctx, f, ids...)
	}
	return a.PlanRetire(ctx, f, ids...)
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
