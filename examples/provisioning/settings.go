package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"github.com/fleetprov/fleetprov"
)

const (
	defaultPFX = "examples/secrets/claim_identity.pfx"
	defaultOut = "device-credentials"
)

const usage = `usage: [AWS_HOSTNAME=endpoint] go run ./examples/provisioning [flags]

Provisions a device against AWS IoT, or against an endpoint embedded in this
program if AWS_HOSTNAME is not set.

Environment:
  AWS_HOSTNAME       endpoint: aws iot describe-endpoint --endpoint-type iot:Data-ATS
  IDENTITY_PASSWORD  password of the claim's PFX file
  TEMPLATE_NAME      provisioning template, if -template is not given
  HTTPS_PROXY, ALL_PROXY, NO_PROXY  proxy, if -proxy is not given

Flags:
`

// settings are what the user asks for. An empty endpoint is the embedded one.
type settings struct {
	endpoint, template string
	pfx, password      string
	out                string
	proxy              string
	parameters         map[string]string
	csr, cbor          bool
	pipelining         bool
	verify, verbose    bool
}

// readSettings fails with an error that package flag has printed.
func readSettings(args []string, stderr io.Writer, getenv func(string) string) (settings, error) {
	s := settings{
		endpoint:   getenv("AWS_HOSTNAME"),
		password:   getenv("IDENTITY_PASSWORD"),
		parameters: make(map[string]string),
	}
	flags := flag.NewFlagSet("provisioning", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&s.template, "template", getenv("TEMPLATE_NAME"), "provisioning template `name`")
	flags.StringVar(&s.pfx, "pfx", defaultPFX, "the claim, a PFX `file`; with AWS_HOSTNAME only")
	flags.StringVar(&s.out, "out", "", "`directory` for the credentials (default "+defaultOut+", or a temporary one without AWS_HOSTNAME)")
	flags.StringVar(&s.proxy, "proxy", "", "proxy `URL`: http, https or socks5")
	flags.Func("param", "parameter of the template, as `key=value`; repeatable", s.addParameter)
	flags.BoolVar(&s.csr, "csr", false, "make the private key here and get a certificate for it with CreateCertificateFromCsr")
	flags.BoolVar(&s.cbor, "cbor", false, "use CBOR payloads in place of JSON")
	flags.BoolVar(&s.pipelining, "pipelining", false, "ask for the certificate without waiting for the SUBACK, which saves a round trip")
	flags.BoolVar(&s.verify, "verify", true, "connect once with the new credentials")
	flags.BoolVar(&s.verbose, "v", false, "log for debugging")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "unexpected argument %q: parameters are given as -param key=value\n", flags.Arg(0))
		flags.Usage()
		return settings{}, errors.New("unexpected argument")
	}
	if s.out == "" && s.endpoint != "" {
		s.out = defaultOut
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

// options are those of the library.
func (s *settings) options(stdout, stderr io.Writer) ([]fleetprov.Option, error) {
	steps := progress{w: stdout}
	var options []fleetprov.Option
	if s.csr {
		options = append(options, fleetprov.WithGeneratedKey())
	}
	if s.pipelining {
		options = append(options, fleetprov.WithPipelining())
	}
	if s.cbor {
		options = append(options, fleetprov.WithCBOR())
	}
	if s.verify {
		options = append(options, fleetprov.WithVerification())
	}
	if s.proxy != "" {
		proxy, err := url.Parse(s.proxy)
		if err != nil {
			// The error would show the password.
			return nil, errors.New("-proxy is not a URL such as http://proxy.example:3128")
		}
		options = append(options, fleetprov.WithProxy(proxy))
	}
	if s.verbose {
		steps.whole = true
		handler := slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
		options = append(options, fleetprov.WithLogger(slog.New(handler)))
	}
	return append(options, fleetprov.WithProgress(steps.report)), nil
}
