// Command tpm is the boot program of a device whose private keys live in a TPM 2.0. It
// takes the device's credentials from a directory, or provisions the device if there
// are none, and connects as the device. With -renew it then renews the certificate,
// with a second key, and connects with that. Ctrl-C ends it.
//
//	go -C examples/tpm run .
//
// needs a TPM and the right to use it, and nothing else: it runs against an endpoint
// embedded in the program, which ends with it. Against AWS:
//
//	AWS_HOSTNAME=xxxxxxxx-ats.iot.eu-west-1.amazonaws.com TEMPLATE_NAME=fleet-template IDENTITY_PASSWORD=… \
//	  go -C examples/tpm run . -pfx /path/to/claim_identity.pfx -serial 0001
//
// The page docs/hardware-keys.md says more.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/examples/tpm/tpmkeys"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Getenv)
	switch {
	case errors.Is(err, flag.ErrHelp), err != nil && ctx.Err() != nil: // Ctrl-C
	case err != nil:
		fmt.Fprintln(os.Stderr, "tpm:", err)
		os.Exit(1)
	}
}

// run runs the device until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer, getenv func(string) string) error {
	flags := flag.NewFlagSet("tpm", flag.ContinueOnError)
	path := flags.String("tpm", "/dev/tpmrm0", "`path` of the TPM: a device, or the socket of an emulator")
	rsa := flags.Bool("rsa", false, "make RSA-2048 keys, not P-256")
	state := flags.String("state", "", "`directory` for the credentials and the keys that the TPM has encrypted (default device-state, or a temporary one without AWS_HOSTNAME)")
	pfx := flags.String("pfx", "claim_identity.pfx", "the claim, a PFX `file`; with AWS_HOSTNAME only")
	serial := flags.String("serial", "0001", "serial `number` of the device")
	renewTemplate := flags.String("renew-template", "fleet-rotation-template", "template `name` to renew against; with AWS_HOSTNAME only")
	renew := flags.Bool("renew", false, "renew the certificate after the first connection")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m := &fleetprov.Manager{
		Endpoint:      getenv("AWS_HOSTNAME"),
		Template:      getenv("TEMPLATE_NAME"),
		Parameters:    map[string]string{"SerialNumber": *serial},
		RenewTemplate: *renewTemplate,
		Claim: func(context.Context) (*fleetprov.Identity, error) {
			return fleetprov.LoadPFX(*pfx, getenv("IDENTITY_PASSWORD"))
		},
	}
	if m.Endpoint == "" {
		fmt.Fprintln(stdout, "AWS_HOSTNAME is not set: using an endpoint embedded in this program, which ends with it.")
		temporary, end, err := embed(m)
		if err != nil {
			return err
		}
		defer end()
		*state = cmp.Or(*state, temporary)
	}
	store := fleetprov.DirStore(cmp.Or(*state, "device-state"))
	algorithm := tpmkeys.P256
	if *rsa {
		algorithm = tpmkeys.RSA2048
	}
	m.Store = store
	m.Options = []fleetprov.Option{fleetprov.WithKeyring(tpmkeys.New(*path, store, algorithm))}
	return m.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
		return connect(ctx, c, func() {
			fmt.Fprintf(stdout, "connected as %q with the key %s\n", c.ThingName, c.KeyLabel)
			if *renew {
				*renew = false
				m.RequestRenewal()
			}
		})
	})
}
