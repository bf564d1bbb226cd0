// Command pkcs11 is the boot program of a device whose private keys live in a PKCS #11
// token. It takes the device's credentials from a directory, or provisions the device if
// there are none, and connects as the device. With -renew it then renews the
// certificate, with a second key, and connects with that. Ctrl-C ends it.
//
//	TOKEN_PIN=… go -C examples/pkcs11 run . -module /usr/lib/softhsm/libsofthsm2.so -token mytoken
//
// runs against an endpoint embedded in the program, which ends with it; the keys that it
// makes in the token have labels of their own. Against AWS:
//
//	AWS_HOSTNAME=xxxxxxxx-ats.iot.eu-west-1.amazonaws.com TEMPLATE_NAME=fleet-template IDENTITY_PASSWORD=… \
//	  go -C examples/pkcs11 run . -module … -token … -pin-file /path/to/pin -pfx /path/to/claim_identity.pfx -serial 0001
//
// The claim's key may be in the token, too, under the label claim: -claim then names a
// file with its certificate, and no PFX is needed. The page docs/hardware-keys.md says
// more.
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
	"github.com/fleetprov/fleetprov/examples/pkcs11/tokenkeys"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Getenv)
	switch {
	case errors.Is(err, flag.ErrHelp), err != nil && ctx.Err() != nil: // Ctrl-C
	case err != nil:
		fmt.Fprintln(os.Stderr, "pkcs11:", err)
		os.Exit(1)
	}
}

// run runs the device until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer, getenv func(string) string) error {
	flags := flag.NewFlagSet("pkcs11", flag.ContinueOnError)
	module := flags.String("module", "", "`path` of the PKCS #11 module")
	label := flags.String("token", "", "`label` of the token")
	pinFile := flags.String("pin-file", "", "`file` with the user's PIN (default: the environment variable TOKEN_PIN)")
	rsa := flags.Bool("rsa", false, "make RSA-2048 keys, not P-256")
	state := flags.String("state", "", "`directory` for the credentials (default device-state, or a temporary one without AWS_HOSTNAME)")
	pfx := flags.String("pfx", "claim_identity.pfx", "the claim, a PFX `file`; with AWS_HOSTNAME only")
	claim := flags.String("claim", "", "the claim's certificate, a PEM `file`, if its key is in the token; with AWS_HOSTNAME only")
	serial := flags.String("serial", "0001", "serial `number` of the device")
	renewTemplate := flags.String("renew-template", "fleet-rotation-template", "template `name` to renew against; with AWS_HOSTNAME only")
	renew := flags.Bool("renew", false, "renew the certificate after the first connection")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pin, err := readPIN(*pinFile, getenv)
	if err != nil {
		return err
	}
	algorithm := tokenkeys.P256
	if *rsa {
		algorithm = tokenkeys.RSA2048
	}
	var keyring fleetprov.Keyring = tokenkeys.New(*module, *label, pin, algorithm)
	m := &fleetprov.Manager{
		Endpoint:      getenv("AWS_HOSTNAME"),
		Template:      getenv("TEMPLATE_NAME"),
		Parameters:    map[string]string{"SerialNumber": *serial},
		RenewTemplate: *renewTemplate,
		Claim: func(ctx context.Context) (*fleetprov.Identity, error) {
			if *claim != "" {
				return claimInToken(ctx, keyring, *claim)
			}
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
		keyring = apart{keyring}
	}
	m.Store = fleetprov.DirStore(cmp.Or(*state, "device-state"))
	m.Options = []fleetprov.Option{fleetprov.WithKeyring(keyring)}
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
