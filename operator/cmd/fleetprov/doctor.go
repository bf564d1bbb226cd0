package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/fleetprov/fleetprov/operator"
)

func doctor(flags *flag.FlagSet) action {
	var in account
	var of fleet
	e := operator.Examination{Parameters: make(map[string]string)}
	in.register(flags)
	of.register(flags)
	flags.StringVar(&e.Endpoint, "endpoint", "", "`address` that the devices are configured with (default it is not looked at)")
	flags.StringVar(&e.Claim, "claim", "", "certificate `id` of the claim (default all claims of the fleet)")
	flags.Func("param", "a parameter that the device in question sends, as `name=value`; repeatable", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("it must be name=value")
		}
		e.Parameters[name] = value
		return nil
	})
	return func(ctx context.Context, t terminal, arguments []string) error {
		if len(arguments) > 0 {
			return usage("unexpected argument %q", arguments[0])
		}
		var err error
		if e.Fleet, err = of.load(); err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		findings, err := a.Examine(ctx, e)
		return report(t, findings, err)
	}
}

// report prints what was found. It fails if that keeps a device from provisioning, or if not
// everything could be looked at.
func report(t terminal, findings []operator.Finding, incomplete error) error {
	serious := 0
	for _, f := range findings {
		kind := "warning"
		if !f.Warning {
			kind = "mistake"
			serious++
		}
		fmt.Fprintf(t.out, "%s: %s\n", kind, f)
	}
	switch {
	case incomplete != nil:
		return incomplete
	case serious > 0:
		return errFound
	}
	fmt.Fprintln(t.out, "nothing was found that would keep a device from provisioning")
	return nil
}
