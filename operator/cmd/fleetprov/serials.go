package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/fleetprov/fleetprov/operator"
)

func serials(flags *flag.FlagSet) action {
	var in account
	var of fleet
	in.register(flags)
	of.register(flags)
	return func(ctx context.Context, t terminal, arguments []string) error {
		if len(arguments) == 0 {
			return usage("say list, add or remove")
		}
		verb, given := arguments[0], arguments[1:]
		if verb != "list" && verb != "add" && verb != "remove" || (verb == "list") != (len(given) == 0) {
			return usage("say list, or add or remove with serial numbers")
		}
		f, err := of.load()
		if err != nil {
			return err
		}
		a, err := in.open(ctx)
		if err != nil {
			return err
		}
		changed, err := changeList(ctx, a, f, verb, given)
		if err != nil {
			return err
		}
		for _, serialNumber := range changed {
			fmt.Fprintln(t.out, serialNumber)
		}
		if verb != "list" {
			fmt.Fprintf(t.err, "%d of %d were to %s\n", len(changed), len(given), verb)
		}
		return nil
	}
}

func changeList(ctx context.Context, a *operator.Account, f operator.Fleet, verb string, given []string) ([]string, error) {
	switch verb {
	case "add":
		return a.AddSerialNumbers(ctx, f, given...)
	case "remove":
		return a.RemoveSerialNumbers(ctx, f, given...)
	default:
		return a.SerialNumbers(ctx, f)
	}
}
