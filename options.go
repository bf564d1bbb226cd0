package fleetprov

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/keys"
	"github.com/fleetprov/fleetprov/internal/proxy"
)

// Option changes what a [Provisioner] does. Without any, it does what a device
// in production should do.
type Option func(*options)

// options is what the options say, or else the defaults. Nothing writes to it after
// New has returned.
type options struct {
	clientID    *string // nil: a new one for each connection
	rootCAs     *x509.CertPool
	tlsConfig   *tls.Config
	dialer      func(ctx context.Context, network, address string) (net.Conn, error)
	dialerSet   bool
	proxy       *url.URL
	proxySet    bool
	ownKey      func(exchange.Format) exchange.Creation // nil: AWS makes the key
	keyOptions  int                                     // how many options set ownKey
	privateKey  crypto.Signer                           // of WithPrivateKey
	keyring     Keyring                                 // of WithKeyring
	keyErr      error
	format      exchange.Format
	verify      func(*run, context.Context, *Credentials) error // nil: nothing is verified
	pipelining  bool
	stepTimeout time.Duration
	maxAttempts int
	backoff     backoff.Policy
	retryIf     func(error) bool
	log         stepLog
	progress    func(context.Context, Progress)
}

// WithClientID sets the MQTT client id, of 1 to 128 bytes and not beginning
// with "$" (AWS general reference, AWS IoT Core message broker limits). A second
// connection under the same client id ends the first, so that the runs of a
// Provisioner with a fixed client id queue. Default: a new id for each
// connection; the thing name for an Identity that came from Credentials.
func WithClientID(id string) Option {
	return func(o *options) { o.clientID = &id }
}

// WithRootCAs sets the roots the server's certificate must chain to, for an
// endpoint on a custom domain. It replaces the built-in ones and those that came
// with the claim; set RootCAs on the device's own [Credentials.TLSConfig] then,
// too. Default: Amazon Root CA 1 to 4 and Starfield Services Root G2 (AWS
// developer guide, "server-authentication"), and the roots of the claim.
func WithRootCAs(roots *x509.CertPool) Option {
	return func(o *options) { o.rootCAs = roots }
}

// WithTLSConfig sets a base for the TLS configuration, which is cloned and never
// changed. Overwritten are ServerName (the endpoint's host), Certificates and
// GetClientCertificate (the claim), NextProtos on port 443 ("x-amzn-mqtt-ca"),
// RootCAs if [WithRootCAs] is given or the base has none, and MinVersion if it
// is zero (TLS 1.2). New refuses InsecureSkipVerify and versions below TLS 1.2.
//
// Each connection offers X25519MLKEM768, as Go does by default, which costs 1,230
// bytes up and, if the server takes it, 1,088 down. CurvePreferences without it,
// such as X25519 and P-256, saves them; then a recording of the connection, with
// the private key if AWS has made it, can be read by whoever breaks those curves
// one day. A server that takes none of the key shares on offer costs a round trip.
// Default: an empty configuration.
func WithTLSConfig(config *tls.Config) Option {
	return func(o *options) { o.tlsConfig = config.Clone() }
}

// WithDialer sets what opens the network connection. It is called with the
// network "tcp" and an address host:port, and is left behind if it has not
// returned when the step ends. Default: a [net.Dialer], which tries IPv6 and
// IPv4 side by side.
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dialer, o.dialerSet = dial, true }
}

// WithProxy sets the proxy to connect through: a URL with the scheme http, https
// (TLS to the proxy, judged by the system's roots), socks5 or socks5h, and user
// and password if it wants them. The proxy resolves the endpoint's name. TLS runs
// through it end to end, and the server name stays the endpoint's. Nil connects
// directly. With [WithDialer], that dialer dials the proxy.
//
// Default: the environment's HTTPS_PROXY, else ALL_PROXY, except for the hosts in
// NO_PROXY; but with [WithDialer] no proxy.
func WithProxy(proxy *url.URL) Option {
	if proxy != nil {
		clone := *proxy
		proxy = &clone
	}
	return func(o *options) { o.proxy, o.proxySet = proxy, true }
}

// WithGeneratedKey makes a P-256 key on the device, while the connection is being
// opened, and gets a certificate for it with CreateCertificateFromCsr: the key
// never travels. Default: AWS makes an RSA-2048 key with
// CreateKeysAndCertificate.
func WithGeneratedKey() Option {
	return func(o *options) {
		o.ownKey = func(format exchange.Format) exchange.Creation {
			return &exchange.OwnKey{Key: keys.Generate, Format: format}
		}
		o.keyOptions++
	}
}

// WithPrivateKey gets a certificate for key with CreateCertificateFromCsr. The key
// may live in hardware: it is asked to sign, and for its public half, which must
// be RSA of at least 2048 bits, P-256, P-384 or P-521. An RSA key must make RSA-PSS
// signatures, which TLS 1.3 needs: it is tried before a certificate is asked for.
// Default: AWS makes the key.
func WithPrivateKey(key crypto.Signer) Option {
	return func(o *options) {
		o.privateKey = key
		o.ownKey = func(format exchange.Format) exchange.Creation {
			return &exchange.OwnKey{Key: func() (crypto.Signer, error) { return key, nil }, Format: format}
		}
		o.keyOptions++
		o.keyErr = keys.Check(key)
	}
}

// WithKeyring makes the device's keys in keyring, one for each certificate, and gets
// certificates for them with CreateCertificateFromCsr. It is for Ensure, Renew and a
// Manager: Provision has no store to remember a label in, and refuses it. Default: AWS
// makes the key.
func WithKeyring(keyring Keyring) Option {
	return func(o *options) {
		o.keyring = keyring
		o.keyOptions++
		if keyring == nil {
			o.keyErr = errors.New("the keyring is nil")
		}
		// The run on a store knows under which label the key is to be made.
		o.ownKey = func(format exchange.Format) exchange.Creation { return &exchange.OwnKey{Format: format} }
	}
}

// WithCBOR makes requests on the topics that end in /cbor, whose payloads are
// smaller. Default: JSON.
func WithCBOR() Option {
	return func(o *options) { o.format = exchange.CBOR }
}

// WithVerification proves the new certificate by connecting with it, under the
// thing name as client id, once AWS has accepted the registration. Activation may
// lag behind: the step is tried until its timeout, every ten seconds, so that a lag of
// more than 20 seconds takes a longer [WithStepTimeout]. A failure is an [*Error] of
// OpVerify, returned together with the Credentials. Default: no verification.
func WithVerification() Option {
	return func(o *options) { o.verify = (*run).verify } // linked only where it is asked for
}

// WithPipelining sends the request for a certificate right behind SUBSCRIBE,
// without waiting for the SUBACK in between. It buys one round trip, of six with
// TLS 1.3.
//
// AWS asks clients to subscribe before they publish a request, since the answer
// might not be received otherwise, and answers on the connection that asked (AWS
// developer guide, "fleet-provision-api"). It does not promise that a SUBSCRIBE
// sent before the request is in effect when the request is handled; nor is the
// order of messages and acknowledgements guaranteed ("mqtt"). Hence no more than
// this one request goes ahead: the SUBACK is waited for before its answer is
// used and before RegisterThing is sent. Errors, and the order of the reports to
// [WithProgress], are what they are without pipelining, but that the request is
// sent as part of [OpSubscribe]: a connection that AWS closes because the policy
// forbids the request may fail there. An answer that is lost costs the time of a
// step ([WithStepTimeout]) and an attempt.
//
// It happens once in a run: when the answer does not come, or the SUBSCRIBE is
// refused, later attempts wait for the SUBACK. So a run wastes at most one
// certificate by it, which is not active, and which AWS deletes when its
// ownership token expires after an hour ("fleet-provision-api"). A certificate
// taken up from a journal is registered without it, and a key that is not made
// yet is not waited for. Default: off.
func WithPipelining() Option {
	return func(o *options) { o.pipelining = true }
}

// WithStepTimeout bounds each step by itself: connecting from the dial to
// CONNACK, subscribing, and each operation. A step that runs out fails with
// [os.ErrDeadlineExceeded]. A pre-provisioning hook alone may take 5 seconds
// (AWS developer guide, "pre-provisioning-hook"). Default: 30 seconds.
func WithStepTimeout(d time.Duration) Option {
	return func(o *options) { o.stepTimeout = d }
}

// WithMaxAttempts bounds how often provisioning is tried before its failure is
// returned; 0 means until the context ends. The wait after the last one is left to the
// program, or to a [Manager]. Default: 0.
func WithMaxAttempts(n int) Option {
	return func(o *options) { o.maxAttempts = n }
}

// WithBackoff bounds the wait between two attempts; a max of 0 is no bound. The first
// is one to three times min, since most failures are a lost packet; the others begin
// at five to fifteen times min. They grow with the time for which AWS IoT has refused
// the device, to a tenth to three tenths of it and in the end more slowly, so that a
// fleet of any size that is powered on at once shares the ten registrations a second
// of an account without a word between devices. Without a max, a device whose own
// network was down tries within three minutes of its return, and one that has a
// certificate to register at least every fifteen minutes. Two connections under one
// client id are 10 seconds apart whatever min is. Default: 2 seconds and 0.
func WithBackoff(min, max time.Duration) Option {
	return func(o *options) { o.backoff = backoff.Policy{Min: min, Max: max} }
}

// WithRetryIf sets which failures are tried again. It is not asked once the
// context has ended, or when AWS has accepted the registration. Default:
// [Retryable].
func WithRetryIf(retry func(error) bool) Option {
	return func(o *options) { o.retryIf = retry }
}

// WithLogger sets where steps are logged: their ends (Info, or Debug for those in the
// store), their failures (Warn) and their beginnings (Debug); and warnings. Keys, tokens,
// passwords, payloads and the values of parameters are never logged. The thing name is,
// and a template may make it of a parameter. With nil nothing is logged.
//
// Default: a failure that will be tried again, with the wait, and warnings go to the
// standard logger of package log, which hands them on to the default logger of
// log/slog if the program has set one with [slog.SetDefault].
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger == nil {
			o.log = noLog{}
			return
		}
		o.log = structuredLog{logger}
	}
}

// WithProgress sets a function that is called when a step begins and when it
// ends. It runs on the goroutine of the step, which waits for it. Default: none.
func WithProgress(report func(context.Context, Progress)) Option {
	return func(o *options) { o.progress = report }
}

func newOptions(opts []Option) *options {
	o := &options{
		dialer:      new(net.Dialer).DialContext,
		format:      exchange.JSON,
		stepTimeout: 30 * time.Second,
		backoff:     backoff.Policy{Min: backoff.DefaultMin},
		retryIf:     Retryable,
		log:         defaultLog{},
		progress:    func(context.Context, Progress) {},
	}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}

// creation returns the way in which a run gets its certificate, and the name of the
// operation.
func (o *options) creation() (exchange.Creation, Op) {
	if o.ownKey == nil {
		return exchange.AWSKey{}, OpCreateKeysAndCertificate
	}
	return o.ownKey(o.format), OpCreateCertificateFromCSR
}

// proxyFor returns the proxy for an address, or nil.
func (o *options) proxyFor(address string) (*url.URL, error) {
	if o.proxySet || o.dialerSet {
		return o.proxy, nil
	}
	return proxy.FromEnvironment(address)
}

// trust returns the roots that the server's certificate must chain to.
func (o *options) trust(claim *Identity) *x509.CertPool {
	switch {
	case o.rootCAs != nil:
		return o.rootCAs
	case o.tlsConfig != nil && o.tlsConfig.RootCAs != nil:
		return o.tlsConfig.RootCAs
	case claim == nil: // nothing is connected to
		return nil
	default:
		return iotendpoint.Trust(claim.roots)
	}
}

// now is the time that certificates are judged by.
func (o *options) now() time.Time {
	if o.tlsConfig != nil && o.tlsConfig.Time != nil {
		return o.tlsConfig.Time()
	}
	return time.Now()
}

// check reports all that is wrong at once.
func (o *options) check() error {
	errs := []error{o.keyErr}
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if o.clientID != nil {
		errs = append(errs, checkClientID(*o.clientID))
	}
	if c := o.tlsConfig; c != nil {
		refuse(c.InsecureSkipVerify, "the TLS configuration sets InsecureSkipVerify: the claim's key would sign for anyone; give the server's roots with WithRootCAs")
		refuse(c.MinVersion != 0 && c.MinVersion < tls.VersionTLS12 || c.MaxVersion != 0 && c.MaxVersion < max(c.MinVersion, tls.VersionTLS12),
			"the TLS configuration allows versions below TLS 1.2, which AWS IoT does not speak, or none")
	}
	if o.proxy != nil {
		errs = append(errs, proxy.Check(o.proxy))
	}
	refuse(o.dialer == nil, "the dialer is nil")
	refuse(o.keyOptions > 1, "WithGeneratedKey, WithPrivateKey and WithKeyring exclude each other, and may be given once")
	refuse(o.stepTimeout <= 0, "the step timeout is %v: it must be more than zero", o.stepTimeout)
	refuse(o.maxAttempts < 0, "the number of attempts is %d: it must be 0, for no limit, or more", o.maxAttempts)
	refuse(o.backoff.Min <= 0 || o.backoff.Max != 0 && o.backoff.Max < o.backoff.Min,
		"the backoff is %v to %v: it must be more than zero, and not end before it begins, or have a max of 0 for no bound", o.backoff.Min, o.backoff.Max)
	refuse(o.retryIf == nil, "the function of WithRetryIf is nil")
	refuse(o.progress == nil, "the progress function is nil")
	return errors.Join(errs...)
}

func checkClientID(id string) error {
	switch {
	case id == "" || len(id) > 128:
		return fmt.Errorf("the client id has %d bytes: AWS IoT takes 1 to 128", len(id))
	case strings.HasPrefix(id, "$"):
		return fmt.Errorf("the client id %q begins with $, which AWS IoT reserves", id)
	default:
		return nil
	}
}

func checkTemplate(name string) error {
	const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
	if name == "" || len(name) > 36 || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("the template name %q is not 1 to 36 letters, digits, hyphens and underscores", name)
	}
	return nil
}

// isThingName reports whether AWS IoT takes the name for a thing (AWS IoT API
// reference, CreateThing).
func isThingName(name string) bool {
	const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:_-"
	return name != "" && len(name) <= 128 && strings.Trim(name, allowed) == ""
}

// checkParameters looks at lengths and encoding: the template decides which parameters
// are required. No value is put into an error, since it may be a secret.
func checkParameters(parameters map[string]string) error {
	var err error
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if !utf8.ValidString(name) || !utf8.ValidString(parameters[name]) {
			err = join(err, fmt.Errorf("the parameter %.64q or its value is not UTF-8, and would become another one on the way: is it read from a memory that was not programmed?", name))
		}
		if n := utf8.RuneCountInString(name); n == 0 || n > 2048 {
			err = join(err, fmt.Errorf("a parameter name has %d characters: AWS IoT takes 1 to 2048", n))
		}
		if n := utf8.RuneCountInString(parameters[name]); n > 4096 {
			err = join(err, fmt.Errorf("the value of parameter %.64q has %d characters: AWS IoT takes up to 4096", name, n))
		}
	}
	return err
}
