package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// settings are what the user asks for. An empty endpoint is the embedded one.
type settings struct {
	endpoint, template, renewTemplate, pfx, state string
	renew                                         bool
	parameters                                    map[string]string
	claim                                         func(context.Context) (*fleetprov.Identity, error)
}

// readSettings fails with an error that package flag has printed.
func readSettings(args []string, stderr io.Writer, getenv func(string) string) (*settings, error) {
	s := &settings{endpoint: getenv("AWS_HOSTNAME"), parameters: map[string]string{}}
	flags := flag.NewFlagSet("[AWS_HOSTNAME=endpoint] [IDENTITY_PASSWORD=password] go run ./examples/firmware", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.template, "template", cmp.Or(getenv("TEMPLATE_NAME"), "fleet-template"), "provisioning template `name`; also TEMPLATE_NAME")
	flags.StringVar(&s.renewTemplate, "renew-template", "fleet-rotation-template", "template `name` to renew against; with AWS_HOSTNAME only")
	flags.StringVar(&s.pfx, "pfx", "", "the claim, a PFX `file`; with AWS_HOSTNAME only (default examples/secrets/claim_identity.pfx)")
	flags.StringVar(&s.state, "state", "", "`directory` for the credentials, on a disk that outlives a reboot\n(default device-state, or a temporary one without AWS_HOSTNAME)")
	flags.BoolVar(&s.renew, "renew", false, "renew the certificate first, for systems without SIGHUP")
	flags.Func("param", "parameter of the template, as `key=value`; repeatable", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || s.parameters[name] != "" {
			return errors.New("it must be key=value, and no key may be given twice")
		}
		s.parameters[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "unexpected argument %q: parameters are given as -param key=value\n", flags.Arg(0))
		return nil, errors.New("unexpected argument")
	}
	s.claim = func(context.Context) (*fleetprov.Identity, error) {
		claim, err := fleetprov.LoadPFX(cmp.Or(s.pfx, "examples/secrets/claim_identity.pfx"), getenv("IDENTITY_PASSWORD"))
		if err != nil {
			err = fmt.Errorf("%w: name the file with -pfx and set IDENTITY_PASSWORD; examples/secrets/README.md says how to make it", err)
		}
		return claim, err
	}
	return s, nil
}

// embed starts an endpoint whose claim the device has. The caller calls end.
func (s *settings) embed() (end func(), err error) {
	if s.pfx != "" {
		return nil, errors.New("-pfx is for AWS: set AWS_HOSTNAME, or leave -pfx out")
	}
	dir, err := os.MkdirTemp("", "fleetprov-")
	if err != nil {
		return nil, err
	}
	server := fleetprovtest.NewUnstartedServer()
	server.Template = s.template
	server.Start()
	if len(s.parameters) == 0 {
		s.parameters["SerialNumber"] = "0001"
	}
	s.endpoint, s.renewTemplate, s.state = server.Endpoint(), s.template, cmp.Or(s.state, dir)
	s.claim = func(context.Context) (*fleetprov.Identity, error) {
		return fleetprov.NewIdentity(server.ClaimCertificate(), server.RootCertificate())
	}
	return func() {
		server.Close()
		os.RemoveAll(dir) // and the credentials: no endpoint knows them any more
	}, nil
}
