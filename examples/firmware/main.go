// Command firmware is the boot program of a device. It takes the device's
// credentials from a directory, or provisions the device if there are none; it
// connects as the device, publishes telemetry once a second on
// devices/<thing name>/telemetry, and connects again whenever the connection is
// lost. SIGHUP, or the flag -renew on Windows, renews the certificate. Ctrl-C ends
// it.
//
//	go run ./examples/firmware
//
// needs nothing: it runs against an endpoint embedded in the program, which ends
// with it. Against AWS, with the documents of examples/aws:
//
//	AWS_HOSTNAME=xxxxxxxx-ats.iot.eu-west-1.amazonaws.com TEMPLATE_NAME=fleet-template IDENTITY_PASSWORD=… \
//	  go run ./examples/firmware -param SerialNumber=0001
//
// The second time it needs neither claim nor password:
//
//	AWS_HOSTNAME=xxxxxxxx-ats.iot.eu-west-1.amazonaws.com go run ./examples/firmware
//
// Provisioning goes through the proxy that the environment names; the connection
// as the device is direct.
//
// The exit status is 0 if Ctrl-C ended a provisioned device, 1 if it could not get
// credentials, and 2 if the flags are wrong.
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
	"time"

	"github.com/fleetprov/fleetprov"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	renewals := make(chan os.Signal, 1)
	signal.Notify(renewals, syscall.SIGHUP) // which Windows never sends
	os.Exit(run(ctx, renewals, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// run is main without the process around it.
func run(ctx context.Context, renewals <-chan os.Signal, args []string, stdout, stderr io.Writer, getenv func(string) string) (status int) {
	s, err := readSettings(args, stderr, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // package flag has said why
	}
	if err := boot(ctx, renewals, s, stdout, stderr); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		complain(stderr, err)
		return 1
	}
	return 0
}

// complain prints an error on one line, even if it holds several problems.
func complain(stderr io.Writer, err error) {
	fmt.Fprintln(stderr, "firmware:", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// boot runs the device until ctx ends.
func boot(ctx context.Context, renewals <-chan os.Signal, s settings, stdout, stderr io.Writer) error {
	if s.endpoint == "" {
		embedded, end, err := embed(s)
		if err != nil {
			return err
		}
		defer end()
		s = embedded
		fmt.Fprintln(stdout, "AWS_HOSTNAME is not set: using an endpoint embedded in this program, which ends with it.")
	}
	fmt.Fprintf(stdout, "Endpoint: %s\nState:    %s\n\n", s.endpoint, s.state)

	store := fleetprov.DirStore(s.state)
	options := []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithProgress(progress{stdout}.report)}
	credentials, err := identify(ctx, s, store, options)
	if credentials == nil {
		return err
	}
	if err != nil {
		complain(stderr, err) // AWS has accepted the device: it can work
	}
	fmt.Fprintf(stdout, "Thing name:     %s\nCertificate id: %s\n\n", credentials.ThingName, credentials.CertificateID)
	fmt.Fprintf(stdout, "Ctrl-C ends this, kill -HUP %d renews the certificate.\n\n", os.Getpid())

	d := &device{
		store:       store,
		credentials: credentials,
		template:    s.renewTemplate,
		options:     options,
		booted:      time.Now(),
		stdout:      stdout,
		stderr:      stderr,
	}
	if s.renew {
		d.renew(ctx)
	}
	d.run(ctx, renewals)
	return nil
}
