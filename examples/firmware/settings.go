package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

const (
	defaultPFX           = "examples/secrets/claim_identity.pfx"
	defaultState         = "device-state"
	defaultRenewTemplate = "fleet-rotation-template"
)

const usage = `usage: [AWS_HOSTNAME=endpoint] go run ./examples/firmware [flags]

Runs a device against AWS IoT, or against an endpoint embedded in this program if
AWS_HOSTNAME is not set. If it has no credentials yet, it is provisioned first.
SIGHUP renews its certificate, Ctrl-C ends it.

Environment:
  AWS_HOSTNAME       endpoint: aws iot describe-endpoint --endpoint-type iot:Data-ATS
  IDENTITY_PASSWORD  password of the claim's PFX file
  TEMPLATE_NAME      provisioning template, if -template is not given
  HTTPS_PROXY, ALL_PROXY, NO_PROXY  proxy to provision through

Flags:
`

// settings are what the user asks for. An empty endpoint is the embedded one.
type settings struct {
	endpoint, template string
	embedded           bool
	pfx, password      string
	state              string
	parameters         map[string]string
	renewTemplate      string
	renew              bool
}

// readSettings fails with an error that package flag has printed.
func readSettings(args []string, stderr io.Writer, getenv func(string) string) (settings, error) {
	s := settings{
		endpoint:   getenv("AWS_HOSTNAME"),
		password:   getenv("IDENTITY_PASSWORD"),
		parameters: make(map[string]string),
	}
	flags := flag.NewFlagSet("firmware", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&s.template, "template", getenv("TEMPLATE_NAME"), "provisioning template `name`")
	flags.StringVar(&s.pfx, "pfx", defaultPFX, "the claim, a PFX `file`; with AWS_HOSTNAME only")
	flags.StringVar(&s.state, "state", "", "`directory` for the credentials; on a device, use a disk that outlives a reboot,\nsuch as /var/lib/firmware (default "+defaultState+", or a temporary one without AWS_HOSTNAME)")
	flags.Func("param", "parameter of the template, as `key=value`; repeatable", s.addParameter)
	flags.StringVar(&s.renewTemplate, "renew-template", defaultRenewTemplate, "template `name` to renew against; with AWS_HOSTNAME only")
	flags.BoolVar(&s.renew, "renew", false, "renew the certificate first, for systems without SIGHUP")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "unexpected argument %q: parameters are given as -param key=value\n", flags.Arg(0))
		flags.Usage()
		return settings{}, errors.New("unexpected argument")
	}
	if s.state == "" && s.endpoint != "" {
		s.state = defaultState
	}
	return s, nil
}

func (s *settings) addParameter(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return errors.New("it must be key=value")
	}
	if _, ok := s.parameters[name]; ok {
		return fmt.Errorf("%q is given twice", name)
	}
	s.parameters[name] = value
	return nil
}
