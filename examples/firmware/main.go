// Command firmware is the boot program of a device. It provisions the device unless a
// directory has its credentials, publishes once a second on devices/<thing name>/telemetry,
// and renews the certificate in time, on SIGHUP, and with -renew. Ctrl-C ends it.
//
//	go run ./examples/firmware
//
// needs nothing: it runs against an endpoint embedded in the program. Against AWS, with
// the documents of examples/aws:
//
//	AWS_HOSTNAME=… IDENTITY_PASSWORD=… go run ./examples/firmware -param SerialNumber=0001
//
// The second time it needs AWS_HOSTNAME alone. Only provisioning goes through a proxy that
// the environment names. The exit status is 0 if Ctrl-C ended a provisioned device, 1 if it
// got no credentials, 2 for wrong flags.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fleetprov/fleetprov"
)

// Both open connections. In tests they lead to a [fleetprovtest.PipeListener].
var (
	dial = new(net.Dialer).DialContext
	open mqtt.OpenConnectionFunc // nil: paho dials itself
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
	if err == nil {
		err = live(ctx, renewals, s, stdout, stderr)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case s == nil:
		return 2 // package flag has said why
	}
	fmt.Fprintln(stderr, "firmware:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return 1
}

// live runs the device until ctx ends.
func live(ctx context.Context, renewals <-chan os.Signal, s *settings, stdout, stderr io.Writer) error {
	if s.endpoint == "" {
		end, err := s.embed()
		if err != nil {
			return err
		}
		defer end()
		fmt.Fprintln(stdout, "AWS_HOSTNAME is not set: using an endpoint embedded in this program, which ends with it.")
	}
	s.state = cmp.Or(s.state, "device-state")
	fmt.Fprintf(stdout, "Endpoint: %s\nState:    %s\nCtrl-C ends this, kill -HUP %d renews the certificate.\n\n", s.endpoint, s.state, os.Getpid())
	manager := &fleetprov.Manager{
		Endpoint:      s.endpoint,
		Template:      s.template,
		Claim:         s.claim,
		Store:         fleetprov.DirStore(s.state),
		Parameters:    s.parameters,
		RenewTemplate: s.renewTemplate,
		// Pipelining saves a round trip: see its documentation for what AWS promises.
		Options: []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithPipelining(),
			fleetprov.WithDialer(dial), fleetprov.WithLogger(slog.New(slog.NewTextHandler(stderr, nil)))},
	}
	if s.renew {
		manager.RequestRenewal()
	}
	go func() {
		for range renewals {
			manager.RequestRenewal()
		}
	}()
	d := &device{booted: time.Now(), stdout: stdout}
	if err := manager.Run(ctx, d.session); d.credentials == nil || ctx.Err() == nil {
		return err
	}
	return nil
}
