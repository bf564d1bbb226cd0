package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const usage = `usage: go run ./examples/simulator [flags]

Runs an AWS IoT endpoint for fleet provisioning until Ctrl-C. It writes a claim to a
directory, prints what to try with it, and keeps what it issues in that directory.

Operations, in the flags below, are Connect, Subscribe, CreateKeysAndCertificate,
CreateCertificateFromCsr and RegisterThing.

Flags:
`

// settings are what the user asks for.
type settings struct {
	addr                      string
	control                   string // or "": there is none
	dir, password             string
	template, templateName    string            // template is a file, or "" for the simple one
	templates                 map[string]string // files of others, by name
	claimPolicy, devicePolicy string            // files, or ""
	policies                  map[string]string
	quotas, clientQuotas      map[fleetprovtest.Op]fleetprovtest.Quota
	faults                    []injection
	serverNames               []string
	alpn, suback              bool
	subscription              bool // is required
	refusal                   fleetprovtest.Refusal
	activationLag, validity   time.Duration
	singleUse                 bool // of tokens
}

// readSettings fails with an error that package flag has printed.
func readSettings(args []string, stderr io.Writer) (settings, error) {
	s := settings{
		templates:    make(map[string]string),
		policies:     make(map[string]string),
		quotas:       make(map[fleetprovtest.Op]fleetprovtest.Quota),
		clientQuotas: make(map[fleetprovtest.Op]fleetprovtest.Quota),
	}
	flags := flag.NewFlagSet("simulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&s.addr, "addr", "127.0.0.1:8883", "`address` to listen on; port 0 is any that is free, port 443 requires ALPN")
	flags.StringVar(&s.control, "control", "", "`address` of the AWS APIs that set a fleet up, for the AWS CLI and SDKs; whoever reaches it may\nrun programs here, so it must be of this machine; port 0 is any that is free (default none)")
	flags.StringVar(&s.dir, "dir", "sim", "`directory` for the claim and the state")
	flags.StringVar(&s.password, "password", "password", "`password` of "+pfxFile+"; it is printed, since the file protects nothing of value")
	flags.Func("template", "provisioning template, a JSON `file` (default one that names the thing by its SerialNumber);\nname=file adds another, such as the one to renew against; repeatable", s.addTemplate)
	flags.StringVar(&s.templateName, "template-name", "fleet-template", "`name` of the provisioning template")
	flags.StringVar(&s.claimPolicy, "claim-policy", "", "policy of the claim, a JSON `file` (default one that allows provisioning and nothing else)")
	flags.StringVar(&s.devicePolicy, "device-policy", "", "policy of the devices if the template names none that -policy adds, a JSON `file`\n(default one that allows everything)")
	flags.Func("policy", "a policy that the template names, as `name=file` with a JSON file; repeatable", s.addPolicy)
	flags.Func("quota", "requests a second of all clients together, as `operation=number`; beyond that the connection is closed, or,\nwith :429 or :400 appended, the request is rejected so; aws sets the quotas of a new AWS account; repeatable", s.addQuota)
	flags.Func("client-quota", "requests a second of each client id, as `operation=number` or operation=number:429; repeatable", s.addClientQuota)
	flags.Func("fault", "misbehaviour for the next requests of an operation, as `operation:what:what…`; repeatable:\n"+faultHelp, s.addFault)
	flags.Func("sni", "host `name` of the endpoint, which clients must ask for (default localhost, but any will do); repeatable", s.addServerName)
	flags.BoolVar(&s.alpn, "alpn", false, "refuse clients that do not offer the protocol x-amzn-mqtt-ca")
	flags.BoolVar(&s.suback, "suback", false, "answer a subscription that the policy does not allow with SUBACK 0x80, and keep the connection")
	flags.BoolVar(&s.subscription, "require-subscription", false, "send the answers only to clients that have subscribed to them")
	flags.Func("refusal", "`how` a certificate or a client id is refused: close (the default, without a word after CONNECT),\nconnack (return code 7) or handshake (a TLS alert for the certificate)", s.setRefusal)
	flags.DurationVar(&s.activationLag, "activation-lag", 0, "`time` until the certificate of a registered device can connect, such as 20s")
	flags.DurationVar(&s.validity, "validity", 0, "`time` that certificates are valid, such as 24h (default until the end of 2049)")
	flags.BoolVar(&s.singleUse, "single-use-tokens", false, "refuse an ownership token that was used already")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	if err := s.check(flags.Args()); err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return settings{}, err
	}
	return s, nil
}

var templateName = regexp.MustCompile(`^[0-9A-Za-z_-]{1,36}$`)

func (s *settings) check(arguments []string) error {
	host, port, err := net.SplitHostPort(s.addr)
	switch {
	case len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q", arguments[0])
	case err != nil:
		return fmt.Errorf("invalid -addr: %w", err)
	case !isPort(port):
		return fmt.Errorf("invalid -addr %q: the port must be a number up to 65535", s.addr)
	case len(s.serverNames) == 0 && !isLocal(host):
		return fmt.Errorf("-addr %s is not localhost, which the server's certificate is for: add -sni with the host name that clients connect to", s.addr)
	case !isControl(s.control):
		return fmt.Errorf("invalid -control %q: it must be an address of this machine, such as 127.0.0.1:0", s.control)
	case s.activationLag < 0 || s.validity < 0:
		return errors.New("-activation-lag and -validity must not be negative")
	case s.dir == "":
		return errors.New("-dir must not be empty")
	case !templateName.MatchString(s.templateName):
		return fmt.Errorf("invalid -template-name %q: 1 to 36 letters, digits, _ and -", s.templateName)
	case strings.ContainsFunc(s.password, func(r rune) bool { return r > 0xFFFF }):
		return errors.New("invalid -password: a PFX file takes no characters beyond U+FFFF")
	}
	return nil
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// isLocal reports whether a client that connects to localhost reaches a listener on
// host.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip.IsLoopback() || ip.IsUnspecified()
}

// isControl reports whether only programs of this machine reach an address, or it is "".
func isControl(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return address == "" || err == nil && isPort(port) && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

func (s *settings) addTemplate(text string) error {
	if strings.Contains(text, "=") {
		return addFile(s.templates, text)
	}
	if s.template != "" {
		return errors.New("only one template takes the name of -template-name; give the others as name=file")
	}
	s.template = text
	return nil
}

func (s *settings) addPolicy(text string) error { return addFile(s.policies, text) }

func addFile(files map[string]string, text string) error {
	name, file, _ := strings.Cut(text, "=")
	if name == "" || file == "" {
		return errors.New("it must be name=file")
	}
	if _, ok := files[name]; ok {
		return fmt.Errorf("%q is given twice", name)
	}
	files[name] = file
	return nil
}

var refusals = map[string]fleetprovtest.Refusal{
	"close":     fleetprovtest.RefuseByClosing,
	"connack":   fleetprovtest.RefuseByConnack,
	"handshake": fleetprovtest.RefuseInHandshake,
}

func (s *settings) setRefusal(text string) error {
	refusal, ok := refusals[text]
	if !ok {
		return errors.New("it must be close, connack or handshake")
	}
	s.refusal = refusal
	return nil
}

func (s *settings) addQuota(text string) error {
	if text == "aws" {
		for op, quota := range fleetprovtest.AWSQuotas() {
			s.quotas[op] = quota
		}
		return nil
	}
	op, quota, err := parseQuota(text)
	if err != nil {
		return err
	}
	s.quotas[op] = quota
	return nil
}

func (s *settings) addClientQuota(text string) error {
	op, quota, err := parseQuota(text)
	if err != nil {
		return err
	}
	s.clientQuotas[op] = quota
	return nil
}

func (s *settings) addFault(text string) error {
	injected, err := parseFault(text)
	if err != nil {
		return err
	}
	s.faults = append(s.faults, injected)
	return nil
}

var hostName = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`)

func (s *settings) addServerName(name string) error {
	if !hostName.MatchString(name) || net.ParseIP(name) != nil {
		return errors.New("it must be a host name")
	}
	s.serverNames = append(s.serverNames, name)
	return nil
}
