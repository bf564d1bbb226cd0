// Package fleetprov gives a device its AWS IoT identity by fleet provisioning.
//
// A device leaves the factory with a claim: a certificate and key shared by its
// batch, usually a PFX file. On first boot a [Provisioner] connects with it to
// AWS IoT Core over MQTT and TLS, asks for a certificate of the device's own,
// registers the device against a provisioning template, and returns
// [Credentials] that the device keeps for life.
//
//	claim, err := fleetprov.LoadPFX("claim_identity.pfx", password)
//	// …
//	provisioner, err := fleetprov.New("xxxxxxxx-ats.iot.eu-west-1.amazonaws.com", "fleet-template", claim)
//	// …
//	credentials, err := provisioner.Provision(ctx, map[string]string{"SerialNumber": "12345"})
//
// Most programs need two names: [New] and [Provisioner.Provision]. Package
// fleetprovtest is an endpoint to try them on without AWS.
package fleetprov

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// Provisioner provisions devices at one endpoint against one template. It is
// safe for concurrent use. [New] makes one.
type Provisioner struct {
	*options
	endpoint endpoint
	template string
	claim    *Identity
	roots    *x509.CertPool

	// turn is held by the run that connects under a fixed client id. It is nil
	// when each connection has its own.
	turn chan struct{}
}

// New returns a Provisioner that presents claim to endpoint, which is host or
// host:port, and registers devices against template. The port is 8883 if none
// is named; on 443 the protocol is negotiated by ALPN (AWS developer guide,
// "protocols").
//
// It does no I/O. All that is wrong with what it is given is reported at once.
func New(endpoint, template string, claim *Identity, opts ...Option) (*Provisioner, error) {
	p := &Provisioner{options: newOptions(opts), template: template, claim: claim}
	var endpointErr, claimErr error
	p.endpoint, endpointErr = parseEndpoint(endpoint)
	if claim == nil || claim.certificate == nil {
		claimErr = errors.New("there is no claim: LoadPFX, ParsePFX or NewIdentity makes one")
	}
	if err := errors.Join(endpointErr, checkTemplate(template), claimErr, p.check()); err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}

	p.roots = p.rootCAs
	if p.roots == nil && p.tlsConfig != nil {
		p.roots = p.tlsConfig.RootCAs
	}
	if p.roots == nil {
		p.roots = trust(claim.roots)
	}
	if p.fixedID == nil && claim.clientID != "" {
		p.fixedID = &claim.clientID
	}
	if p.fixedID != nil {
		p.turn = make(chan struct{}, 1)
	}
	return p, nil
}

// Provision gets a certificate from AWS IoT and registers the device against
// the template, with the parameters it declares: names of up to 2,048 and
// values of up to 4,096 characters. Neither is logged.
//
// It fails with an [*Error], and ends when ctx does. Once AWS has accepted the
// registration it returns Credentials even together with an error: they hold
// what the device needs to connect, and are not to be thrown away.
//
// The steps are those of the AWS developer guide, "fleet-provision-api".
func (p *Provisioner) Provision(ctx context.Context, parameters map[string]string) (*Credentials, error) {
	r, err := p.prepare(ctx, parameters)
	if err != nil {
		return nil, err
	}
	defer r.end()
	ctx, cancel := context.WithTimeoutCause(ctx, p.claim.leaf.NotAfter.Sub(p.now()), p.expired())
	defer cancel()

	session, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	if err := r.subscribe(ctx, session); err != nil {
		return nil, err
	}
	issued, err := r.create(ctx, session)
	if err != nil {
		return nil, err
	}
	credentials, err := r.register(ctx, session, issued)
	if err != nil || !r.verified {
		return credentials, err
	}
	session.Close()
	<-session.Closed()
	return credentials, r.verify(ctx, credentials)
}

// run is one call of Provision.
type run struct {
	*Provisioner
	parameters map[string]string
	clientID   string
	key        *deviceKey // nil when AWS makes the key
	attempt    int

	// certificateID is the certificate AWS issued, once it has.
	certificateID string
}

// prepare refuses what AWS would refuse, before any network traffic.
func (p *Provisioner) prepare(ctx context.Context, parameters map[string]string) (*run, error) {
	if p == nil || p.claim == nil {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the Provisioner was not made by New")}
	}
	r := &run{Provisioner: p, parameters: maps.Clone(parameters), clientID: newClientID(), attempt: 1}
	if p.fixedID != nil {
		r.clientID = *p.fixedID
	}
	err := ctx.Err()
	if err == nil {
		err = errors.Join(checkParameters(parameters), p.checkValidity())
	}
	if err == nil && p.turn != nil {
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, &Error{Op: OpPrepare, Err: err}
	}
	if p.deviceKey != nil {
		r.key = makeDeviceKey(p.deviceKey)
	}
	return r, nil
}

func newClientID() string { return "fleetprov-" + rand.Text() }

// end lets the next run with the same client id begin.
func (r *run) end() {
	if r.turn != nil {
		<-r.turn
	}
}

// checkValidity tells a clock that is behind from a claim that is too old.
func (p *Provisioner) checkValidity() error {
	now, leaf := p.now(), p.claim.leaf
	switch {
	case now.Before(leaf.NotBefore):
		return notYetValid("the claim", leaf, now, x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired})
	case now.After(leaf.NotAfter):
		return p.expired()
	default:
		return nil
	}
}

// expired is the end of the claim, which is final. A claim issued to a trusted
// user lives for five minutes, and may end in the middle of a run (AWS developer
// guide, "provision-wo-cert").
func (p *Provisioner) expired() error {
	leaf := p.claim.leaf
	return &expiredError{fmt.Errorf("the claim expired on %s: the device needs a new one: %w", leaf.NotAfter.UTC().Format(time.RFC3339),
		x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired})}
}

// now is the time certificates are judged by.
func (p *Provisioner) now() time.Time {
	if p.tlsConfig != nil && p.tlsConfig.Time != nil {
		return p.tlsConfig.Time()
	}
	return time.Now()
}

// connect opens the connection with the claim's certificate.
func (r *run) connect(ctx context.Context) (session *mqttsession.Session, err error) {
	answers := answerTopics(r.createTopic(), registerTopic(r.template, r.format.Name))
	err = r.step(ctx, OpConnect, func(ctx context.Context) error {
		session, err = r.open(ctx, r.claim.certificate, r.clientID, answers...)
		return err
	})
	return session, err
}

// open dials, shakes hands and sends CONNECT. Nothing may follow CONNECT before
// its CONNACK (AWS developer guide, "mqtt").
func (r *run) open(ctx context.Context, certificate *tls.Certificate, clientID string, topics ...string) (*mqttsession.Session, error) {
	conn, err := tlsdial.Dial(ctx, r.dial, r.endpoint.String(), r.endpoint.tlsConfig(r.tlsConfig, r.roots, certificate))
	if err != nil {
		return nil, &dialError{err}
	}
	return mqttsession.Open(ctx, conn, clientID, topics...)
}

// subscribe asks for the answers before there can be any. A client that does
// not may miss them (AWS developer guide, "fleet-provision-api").
func (r *run) subscribe(ctx context.Context, session *mqttsession.Session) error {
	return r.step(ctx, OpSubscribe, session.Subscribe)
}

// create gets a certificate, which is not active yet: for the device's own key,
// or together with a key that AWS makes.
func (r *run) create(ctx context.Context, session *mqttsession.Session) (issued *exchange.Issued, err error) {
	client := exchange.Client{Session: session, Format: r.format}
	if r.key == nil {
		err = r.step(ctx, OpCreateKeysAndCertificate, func(ctx context.Context) error {
			issued, err = client.CreateKeysAndCertificate(ctx, r.createTopic())
			return err
		})
	} else {
		err = r.step(ctx, OpCreateCertificateFromCSR, func(ctx context.Context) error {
			issued, err = r.createFromCSR(ctx, client)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	r.certificateID = issued.ID
	r.compareID(ctx, issued)
	return issued, nil
}

func (r *run) createFromCSR(ctx context.Context, client exchange.Client) (*exchange.Issued, error) {
	if err := r.key.wait(ctx); err != nil {
		return nil, err
	}
	issued, err := client.CreateCertificateFromCSR(ctx, r.createTopic(), r.key.csr, r.key.signer.Public())
	if err != nil {
		return nil, err
	}
	issued.Key = r.key.signer
	return issued, nil
}

func (r *run) createTopic() string {
	if r.key == nil {
		return createKeysTopic(r.format.Name)
	}
	return createFromCSRTopic(r.format.Name)
}

// register makes the certificate active and the device a thing.
func (r *run) register(ctx context.Context, session *mqttsession.Session, issued *exchange.Issued) (*Credentials, error) {
	client := exchange.Client{Session: session, Format: r.format}
	var registered *exchange.Registered
	err := r.step(ctx, OpRegisterThing, func(ctx context.Context) (err error) {
		registered, err = client.RegisterThing(ctx, registerTopic(r.template, r.format.Name), issued.Token, r.parameters)
		return err
	})
	if registered == nil {
		return nil, err
	}
	return r.credentials(issued, registered), err
}
