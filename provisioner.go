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

	// turn is taken by the run that connects under a fixed client id, and holds
	// when the last one did. It is nil when each connection has its own id.
	turn chan time.Time
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
		p.turn = make(chan time.Time, 1)
		p.turn <- time.Time{}
	}
	return p, nil
}

// Provision gets a certificate from AWS IoT and registers the device against
// the template, with the parameters it declares: names of up to 2,048 and
// values of up to 4,096 characters. Neither is logged.
//
// It tries until it succeeds, the failure cannot pass (see [Retryable] and
// [WithRetryIf]), ctx ends, or [WithMaxAttempts] is reached, and keeps the
// certificate it was issued from one attempt to the next. It fails with an
// [*Error]. Once AWS has accepted the registration it returns Credentials even
// together with an error: they hold what the device needs to connect, and are not
// to be thrown away.
//
// What a run gained is lost with the process. [Provisioner.Ensure] keeps it.
//
// The steps are those of the AWS developer guide, "fleet-provision-api".
func (p *Provisioner) Provision(ctx context.Context, parameters map[string]string) (*Credentials, error) {
	r, err := p.newRun()
	if err != nil {
		return nil, err
	}
	if err := r.prepare(ctx, parameters); err != nil {
		return nil, err
	}
	credentials, err := r.repeat(ctx)
	if err != nil || !r.verified {
		return credentials, err
	}
	return credentials, r.verify(ctx, credentials)
}

// exchange is the protocol: connect, subscribe, create, register, disconnect. A
// certificate that is there already is registered, not created again.
func (r *run) exchange(ctx context.Context) (*Credentials, error) {
	session, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer r.disconnect(session)
	if err := r.subscribe(ctx, session); err != nil {
		return nil, err
	}
	if r.issued == nil {
		if err := r.create(ctx, session); err != nil {
			return nil, err
		}
	}
	return r.register(ctx, session)
}

// run is one call of Provision, Ensure or Renew.
type run struct {
	*Provisioner
	parameters map[string]string
	key        *deviceKey // nil when AWS makes the key
	began      time.Time
	attempt    int
	clientID   string

	// issued is the certificate of this run, which is registered again and
	// again rather than made again.
	issued   *exchange.Issued
	issuedAt time.Time
	// accepted is the id of the certificate that was found registered.
	accepted string
	// ahead is the attempt in which Create was sent ahead of the SUBACK, or 0.
	ahead int
	// recorded is the certificate that the journal holds.
	recorded *exchange.Issued
	// store holds the journal, and is nil for Provision.
	store Store
	// journal records the certificate that is about to be registered. It is nil for
	// Provision, so that a program without a store does not link what writes one.
	journal func(context.Context) error
	renewal bool
	// connected is when the last connection under a fixed client id was opened.
	connected time.Time
	// goodbye is closed when the last connection is.
	goodbye <-chan struct{}
}

func (p *Provisioner) newRun() (*run, error) {
	if p == nil || p.claim == nil {
		return nil, &Error{Op: OpPrepare, Err: errors.New("the Provisioner was not made by New")}
	}
	return &run{Provisioner: p}, nil
}

// prepare refuses what AWS would refuse, before any network traffic.
func (r *run) prepare(ctx context.Context, parameters map[string]string) error {
	err := ctx.Err()
	if err == nil {
		err = checkParameters(parameters)
	}
	if err != nil {
		return &Error{Op: OpPrepare, Err: err}
	}
	r.parameters = maps.Clone(parameters)
	return nil
}

// certificateID names the certificate of this run, if it has one.
func (r *run) certificateID() string {
	if r.issued == nil {
		return r.accepted
	}
	return r.issued.ID
}

func newClientID() string { return "fleetprov-" + rand.Text() }

// connect opens the connection with the claim's certificate.
func (r *run) connect(ctx context.Context) (session *mqttsession.Session, err error) {
	if r.clientID = newClientID(); r.fixedID != nil {
		r.clientID = *r.fixedID
	}
	if r.issued == nil {
		r.makeKey()
	}
	if err := r.pace(ctx); err != nil {
		return nil, r.unprepared(err)
	}
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

// disconnect says goodbye. Nobody waits for it but who is about to connect under
// the same client id.
func (r *run) disconnect(session *mqttsession.Session) {
	session.Close()
	r.goodbye = session.Closed()
}

// subscribe asks for the answers before there can be any. A client that does
// not may miss them (AWS developer guide, "fleet-provision-api").
func (r *run) subscribe(ctx context.Context, session *mqttsession.Session) error {
	return r.step(ctx, OpSubscribe, func(ctx context.Context) error {
		if err := session.Subscribe(ctx); err != nil {
			return err
		}
		if err := r.askAhead(ctx, session); err != nil {
			return err
		}
		return session.Subscribed(ctx)
	})
}

// create gets a certificate, which is not active yet: for the device's own key,
// or together with a key that AWS makes.
func (r *run) create(ctx context.Context, session *mqttsession.Session) error {
	client := exchange.Client{Session: session, Format: r.format, Sent: r.askedAhead()}
	op, ask := OpCreateKeysAndCertificate, func(ctx context.Context) (*exchange.Issued, error) {
		return client.CreateKeysAndCertificate(ctx, r.createTopic())
	}
	if r.deviceKey != nil {
		op, ask = OpCreateCertificateFromCSR, func(ctx context.Context) (*exchange.Issued, error) {
			return r.createFromCSR(ctx, client)
		}
	}
	var issued *exchange.Issued
	err := r.step(ctx, op, func(ctx context.Context) (err error) {
		issued, err = ask(ctx)
		return err
	})
	if err != nil {
		return err
	}
	r.issued, r.issuedAt = issued, time.Now()
	r.compareID(ctx)
	return nil
}

func (r *run) createFromCSR(ctx context.Context, client exchange.Client) (*exchange.Issued, error) {
	r.makeKey()
	if err := r.key.wait(ctx); err != nil {
		select {
		case <-r.key.made:
			r.key = nil // it failed: the next attempt may ask again
		default: // it is slow: the next attempt may find it done
		}
		return nil, err
	}
	issued, err := client.CreateCertificateFromCSR(ctx, r.createTopic(), r.key.request, r.key.signer.Public())
	if err != nil {
		return nil, err
	}
	issued.Key = r.key.signer
	return issued, nil
}

func (r *run) createTopic() string {
	if r.deviceKey == nil {
		return createKeysTopic(r.format.Name)
	}
	return createFromCSRTopic(r.format.Name)
}

// register makes the certificate active and the device a thing.
func (r *run) register(ctx context.Context, session *mqttsession.Session) (*Credentials, error) {
	if r.journal != nil {
		if err := r.journal(ctx); err != nil {
			return nil, err
		}
	}
	client := exchange.Client{Session: session, Format: r.format}
	var registered *exchange.Registered
	err := r.step(ctx, OpRegisterThing, func(ctx context.Context) (err error) {
		registered, err = client.RegisterThing(ctx, registerTopic(r.template, r.format.Name), r.issued.Token, r.parameters)
		return err
	})
	if registered == nil {
		return nil, err
	}
	return r.credentials(registered), err
}
