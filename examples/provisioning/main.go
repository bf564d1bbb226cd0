// Command provisioning gives a device its AWS IoT identity: it connects with the
// claim in a PFX file, gets a certificate, registers the device against a
// provisioning template, connects once with the new credentials, and writes them
// to a directory.
//
//	go run ./examples/provisioning
//
// needs nothing: it runs against an endpoint embedded in the program. Against AWS:
//
//	AWS_HOSTNAME=xxxxxxxx-ats.iot.eu-west-1.amazonaws.com TEMPLATE_NAME=fleet-template IDENTITY_PASSWORD=… \
//	  go run ./examples/provisioning -param SerialNumber=0001
//
// The exit status is 0 if the device is provisioned, 1 if it is not or its
// credentials do not work, and 2 if the flags are wrong.
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

	"github.com/fleetprov/fleetprov"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string) (status int) {
	s, err := readSettings(args, stderr, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // package flag has said why
	}
	if err := provision(ctx, s, stdout, stderr); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		// One line, even if it holds several problems.
		fmt.Fprintln(stderr, "provisioning:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

func provision(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	if s.endpoint == "" {
		embedded, end, err := embed(s)
		if err != nil {
			return err
		}
		defer end()
		s = embedded
		fmt.Fprintf(stdout, "AWS_HOSTNAME is not set: using an endpoint embedded in this program, with a claim of its own.\n\n")
	}
	fmt.Fprintf(stdout, "Endpoint: %s\nTemplate: %s\nClaim:    %s\n\n", s.endpoint, s.template, s.pfx)

	if s.template == "" {
		return errors.New("there is no template: name it with -template or TEMPLATE_NAME; aws iot list-provisioning-templates prints those of the account")
	}
	claim, err := loadClaim(s.pfx, s.password)
	if err != nil {
		return err
	}
	options, err := s.options(stdout, stderr)
	if err != nil {
		return err
	}
	provisioner, err := fleetprov.New(s.endpoint, s.template, claim, options...)
	if err != nil {
		return err
	}
	out, err := openOutput(s.out)
	if err != nil {
		return err
	}
	defer out.close()

	credentials, err := provisioner.Provision(ctx, s.parameters)
	if credentials == nil {
		return err
	}
	// Save the credentials even if there is an error: AWS does not give them a
	// second time.
	if saveErr := out.save(credentials); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	printCredentials(stdout, credentials, out.dir)
	if s.verify && err == nil {
		fmt.Fprintln(stdout, "\nConnected once with the new credentials: they work.")
	}
	return err
}
