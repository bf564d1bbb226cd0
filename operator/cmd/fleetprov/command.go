package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // or doctor has found something
	exitUsage  = 2
)

// terminal is what a command talks to.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// command is one of the commands. Its register declares flags, and returns what runs with
// them and the arguments behind them.
type command struct {
	name, arguments, summary string
	register                 func(*flag.FlagSet) action
}

type action func(ctx context.Context, t terminal, arguments []string) error

// errUsage is an error that has been printed.
var errUsage = errors.New("usage")

// errFound says that there is something to do, which has been printed.
var errFound = errors.New("found")

func (c command) run(ctx context.Context, arguments []string, t terminal) int {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(t.err)
	flags.Usage = func() {
		fmt.Fprintf(t.err, "usage: fleetprov %s\n\n%s.\n\nFlags:\n", strings.TrimSpace(c.name+" [flags] "+c.arguments), strings.ToUpper(c.summary[:1])+c.summary[1:])
		flags.PrintDefaults()
	}
	do := c.register(flags)
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	err := checkArguments(arguments, flags.Args())
	if err == nil {
		err = do(ctx, t, flags.Args())
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFailed
	case errors.Is(err, errUsage):
		fmt.Fprintln(t.err, err)
		flags.Usage()
		return exitUsage
	default:
		fmt.Fprintf(t.err, "fleetprov %s: %v\n", c.name, err)
		return exitFailed
	}
}

// checkArguments refuses a flag behind an argument, which package flag takes for an argument.
// Behind -- anything is an argument, and so is a lone -.
func checkArguments(all, behind []string) error {
	if before := len(all) - len(behind); before > 0 && all[before-1] == "--" {
		return nil
	}
	for _, argument := range behind {
		if len(argument) > 1 && strings.HasPrefix(argument, "-") {
			return usage("%q comes too late: flags go before the arguments", argument)
		}
	}
	return nil
}

// usage is an error of whoever called the command.
func usage(format string, arguments ...any) error {
	return fmt.Errorf(format+"%w", append(arguments, silent{})...)
}

// silent is errUsage without a text.
type silent struct{}

func (silent) Error() string        { return "" }
func (silent) Is(target error) bool { return target == errUsage }
