// Command fleetprov sets a fleet up in an AWS account, and looks after it: run it without
// arguments for its commands, and a command with -h for its flags.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr}))
}

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

func printUsage(w io.Writer) {
	fmt.Fprint(w, "usage: fleetprov COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nfleetprov COMMAND -h lists the flags of a command.\n")
}
