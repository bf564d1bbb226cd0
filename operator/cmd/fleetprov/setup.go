package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/fleetprov/fleetprov/operator"
)

func setup(flags *flag.FlagSet) action {
	var in account
	var of fleet
	var serialFile, claimFile, rootFile string
	var replace, dryRun bool
	in.register(flags)
	of.register(flags)
	flags.StringVar(&serialFile, "serials", "", "`file` with serial numbers that may register, one a line; they are added to the list")
	flags.StringVar(&claimFile, "out", "claim_identity.pfx", "`file` for the claim; its password goes beside it, into a file that ends in .password")
	flags.StringVar(&rootFile, "root", "", rootUsage)
	flags.BoolVar(&replace, "replace", false, "replace what has the same name and is different")
	flags.BoolVar(&dryRun, "dry-run", false, "say what is to be done, and do nothing")
	return func(ctx context.Context, t terminal, arguments []string) error {
		if len(arguments) > 0 {
			return usage("unexpected argument %q", arguments[0])
		}
		s, err := readSetup(of, serialFile, claimFile, rootFile)
		if err != nil {
			return err
		}
		s.Replace = replace
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.out, "Account %s, region %s\n", a.ID(), a.Region())
		plan, err := a.PlanSetup(ctx, s)
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
		return next(ctx, t, a, s)
	}
}

func readSetup(of fleet, serialFile, claimFile, rootFile string) (operator.Setup, error) {
	s := operator.Setup{ClaimFile: claimFile}
	var err error
	if s.Fleet, err = of.load(); err != nil {
		return s, err
	}
	if s.Root, err = readRoot(rootFile); err != nil {
		return s, err
	}
	if serialFile == "" {
		return s, nil
	}
	data, err := os.ReadFile(serialFile)
	s.SerialNumbers = strings.Fields(string(data))
	return s, err
}

// next says what a device needs, and what is still to be done.
func next(ctx context.Context, t terminal, a *operator.Account, s operator.Setup) error {
	endpoint, err := a.Endpoint(ctx)
	if err != nil {
		return err
	}
	list, err := a.SerialNumbers(ctx, s.Fleet)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "\nThe fleet is set up. Endpoint: %s\n", endpoint)
	if _, err := os.Stat(s.ClaimFile); err == nil && !s.Fleet.NoClaim {
		fmt.Fprintf(t.out, "Claim: %s, its password: %s\n", s.ClaimFile, passwordFile(s.ClaimFile))
	}
	if len(list) == 0 {
		fmt.Fprintln(t.out, "No serial number may register yet: fleetprov serials add SERIAL…")
	}
	return nil
}
