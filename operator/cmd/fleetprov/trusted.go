package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/fleetprov/fleetprov/operator"
)

func trusted(flags *flag.FlagSet) action {
	var in account
	var template, out, rootFile string
	var pem, force bool
	in.register(flags)
	flags.StringVar(&template, "template", "fleet-template", "`name` of the provisioning template")
	flags.StringVar(&out, "out", "", "`file` for the claim")
	flags.BoolVar(&pem, "pem", false, "write certificate and key as PEM; otherwise a PFX, with its password in a file that ends in .password")
	flags.BoolVar(&force, "force", false, "replace files that are there")
	flags.StringVar(&rootFile, "root", "", rootUsage)
	return func(ctx context.Context, t terminal, arguments []string) error {
		switch {
		case len(arguments) > 0:
			return usage("unexpected argument %q", arguments[0])
		case out == "":
			return usage("give -out")
		case !pem && out == passwordFile(out):
			return usage("%s is where the password goes: choose a name that ends in .pfx", out)
		}
		if !force {
			if err := checkAbsent(out, pem); err != nil {
				return err
			}
		}
		root, err := readRoot(rootFile)
		if err != nil {
			return err
		}
		config, err := in.config(ctx)
		if err != nil {
			return err
		}
		claim, err := operator.NewTrustedClaim(ctx, config, template)
		if err != nil {
			return err
		}
		write := writePEM
		if !pem {
			write = func(c *operator.Claim, out string) error { return c.WritePFX(out, root) }
		}
		if err := write(claim, out); err != nil {
			return err
		}
		fmt.Fprintf(t.out, "claim %s in %s, valid until %s\n", claim.CertificateID, out, claim.Expires.Local().Format(time.RFC3339))
		return nil
	}
}

// checkAbsent fails if the claim would replace another, which lives longer.
func checkAbsent(out string, pem bool) error {
	files := []string{out}
	if !pem {
		files = append(files, passwordFile(out))
	}
	for _, file := range files {
		if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there already, and may be the only copy of a claim: choose another file, or replace it with -force", file)
		}
	}
	return nil
}

func writePEM(claim *operator.Claim, out string) error {
	data, err := claim.PEM()
	if err != nil {
		return err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
