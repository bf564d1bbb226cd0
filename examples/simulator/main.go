// Command simulator is an AWS IoT endpoint for fleet provisioning on this machine,
// for clients in any language. It writes a claim to a directory, prints where it
// listens and what to try, logs what clients do, and runs until Ctrl-C.
//
//	go run ./examples/simulator -addr 127.0.0.1:8883 -dir ./sim
//
// What it has issued and registered is kept in the directory: a device that is
// provisioned today can still connect tomorrow. With the template and the policies of
// an AWS account, such as those in examples/aws, it behaves as that account's
// endpoint does:
//
//	go run ./examples/simulator -template examples/aws/provisioning-template.json \
//	  -template fleet-rotation-template=examples/aws/rotation-template.json \
//	  -claim-policy examples/aws/claim-policy.json \
//	  -policy fleet-device-policy=examples/aws/device-policy.json \
//	  -policy fleet-rotation-policy=examples/aws/rotation-policy.json
//
// With -control it also serves the AWS APIs that set a fleet up, for the AWS CLI and the
// AWS SDKs, without an account and with any credentials: what they make is what devices
// then meet. One line of the output is "control: " and the URL.
//
//	go run ./examples/simulator -control 127.0.0.1:8080
//	aws --endpoint-url http://127.0.0.1:8080 iot list-policies
//
// Whoever reaches that address may have Python functions run here, as hooks.
//
// It logs to the standard error. Everything else goes to the standard output, where
// one line is "endpoint: " and the host and port that clients connect to.
//
// The exit status is 0 if Ctrl-C ended it, 1 if it could not start, and 2 if the
// flags, or the documents they name, cannot be used.
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	s, err := readSettings(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // package flag has said why
	}
	sim, err := newSimulator(s, newLogger(stderr))
	if err != nil {
		complain(stderr, err)
		return 2
	}
	if err := sim.run(ctx, stdout); err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// complain prints an error as one line.
func complain(stderr io.Writer, err error) {
	fmt.Fprintln(stderr, "simulator:", strings.ReplaceAll(err.Error(), "\n", "; "))
}
