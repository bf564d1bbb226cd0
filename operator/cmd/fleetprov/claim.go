package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/fleetprov/fleetprov/operator"
)

func claim(flags *flag.FlagSet) action {
	var in account
	var of fleet
	var out, rootFile, deactivate string
	in.register(flags)
	of.register(flags)
	flags.StringVar(&out, "out", "", "`file` for the new claim, which ends in .pfx; its password goes beside it, into a file that ends in .password")
	flags.StringVar(&rootFile, "root", "", rootUsage)
	flags.StringVar(&deactivate, "deactivate", "", "end the claim with this certificate `id` instead")
	return func(ctx context.Context, t terminal, arguments []string) error {
		switch {
		case len(arguments) > 0:
			return usage("unexpected argument %q", arguments[0])
		case (out == "") == (deactivate == ""):
			return usage("give either -out or -deactivate")
		}
		f, err := of.load()
		if err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		if deactivate != "" {
			return endClaim(ctx, t, a, f, deactivate)
		}
		root, err := readRoot(rootFile)
		if err != nil {
			return err
		}
		made, err := a.NewClaim(ctx, f, out, root)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.out, "claim %s is active: %s, its password: %s\n", made.CertificateID, out, passwordFile(out))
		return nil
	}
}

func endClaim(ctx context.Context, t terminal, a *operator.Account, f operator.Fleet, id string) error {
	if err := a.DeactivateClaim(ctx, f, id); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "claim %s is inactive: no device can provision itself with it\n", id)
	return nil
}

// passwordFile is where the library writes the password of a PFX.
func passwordFile(pfx string) string {
	return strings.TrimSuffix(pfx, filepath.Ext(pfx)) + ".password"
}
