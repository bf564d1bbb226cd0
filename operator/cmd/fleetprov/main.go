// Command fleetprov sets a fleet up in an AWS account, and looks after it: run it without
// arguments for its commands, and a command with -h for its flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // or doctor has found something
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr}))
}

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

var commands = []command{
	{"setup", "", "make what a fleet needs, and a claim; what is there stays", setup},
	{"doctor", "", "look for what would keep a device from provisioning", doctor},
	{"claim", "", "make another claim, such as for the next batch; or end one", claim},
	{"trusted", "", "get a claim of five minutes for a device that is being installed", trusted},
	{"serials", "list | add SERIAL… | remove SERIAL…", "say which serial numbers may register", serials},
	{"release", "SERIAL…", "let a device that has lost its identity register anew", release},
	{"retire", "[ID…]", "deactivate certificates that no device needs any more; later, delete them", retire},
	{"teardown", "", "remove what setup made, and all devices, after asking", teardown},
}

// errUsage is an error that has been printed.
var errUsage = errors.New("usage")

// errFound says that there is something to do, which has been printed.
var errFound = errors.New("found")

func run(ctx context.Context, arguments []string, t terminal) int {
	if len(arguments) == 0 {
		printUsage(t.err)
		return exitUsage
	}
	for _, c := range commands {
		if c.name == arguments[0] {
			return c.run(ctx, arguments[1:], t)
		}
	}
	if name := strings.TrimLeft(arguments[0], "-"); name == "h" || name == "help" {
		printUsage(t.out)
		return exitOK
	}
	fmt.Fprintf(t.err, "there is no command %q\n", arguments[0])
	printUsage(t.err)
	return exitUsage
}

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

func printUsage(w io.Writer) {
	fmt.Fprint(w, "usage: fleetprov COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nfleetprov COMMAND -h lists the flags of a command.\n")
}

// usage is an error of whoever called the command.
func usage(format string, arguments ...any) error {
	return fmt.Errorf(format+"%w", append(arguments, silent{})...)
}

// silent is errUsage without a text.
type silent struct{}

func (silent) Error() string        { return "" }
func (silent) Is(target error) bool { return target == errUsage }
