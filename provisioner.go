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
//	credentials, err := provisioner.Ensure(ctx, fleetprov.DirStore("/var/lib/device/identity"), map[string]string{"SerialNumber": "12345"})
//
// Firmware uses a [Manager], which does all of it for as long as the device lives:
// it provisions the device at the first boot, runs its session, and renews its
// certificate in time. Programs that do more themselves need two names: [New], and
// one of its methods. [Provisioner.Ensure] is for every boot: it keeps the
// credentials in a [Store], and goes on where a power failure cut it off.
// [Provisioner.Provision] is for programs that keep the result themselves. Package
// fleetprovtest is an endpoint to try them on without AWS.
package fleetprov

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/journal"
	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
	"github.com/fleetprov/fleetprov/internal/turn"
)

// Provisioner provisions devices at one endpoint against one template. It is
// safe for concurrent use. [New] makes one.
type Provisioner struct {
	options  *options
	link     *link.Link
	template string
	claim    *Identity
	topics   topics           // of the requests
	patterns topics           // the same as policies name them
	client   diagnosis.Client // who connects with the claim; without an ID, each connection has one of its own
	turn     *turn.Turn       // of that ID; nil if there is none

	unwritten *journal.Unwritten // renewed credentials that no store holds
	renews    string             // the certificate that a Manager renews; "": the one in the store
	past      *backoff.Past      // of a Manager's runs with the claim; nil: none is remembered
}

// New returns a Provisioner that presents claim to endpoint, which is host or
// host:port, and registers devices against template. The port is 8883 if none
// is named; on 443 the protocol is negotiated by ALPN (AWS developer guide,
// "protocols").
//
// It does no I/O. All that is wrong with what it is given is reported at once.
func New(endpoint, template string, claim *Identity, opts ...Option) (*Provisioner, error) {
	var claimErr error
	if claim == nil || claim.certificate == nil {
		claim, claimErr = nil, errors.New("there is no claim: LoadPFX, ParsePFX or NewIdentity makes one")
	}
	p, err := newProvisioner(endpoint, template, claim, opts)
	if err := errors.Join(err, claimErr); err != nil {
		return nil, fmt.Errorf("fleetprov: %w", err)
	}
	return p, nil
}

// newProvisioner is New. Without a claim, which nil is, the Provisioner can read a store
// and do no more.
func newProvisioner(endpoint, template string, claim *Identity, opts []Option) (*Provisioner, error) {
	o := newOptions(opts)
	address, endpointErr := iotendpoint.Parse(endpoint)
	if err := errors.Join(endpointErr, checkTemplate(template), o.check()); err != nil {
		return nil, err
	}
	p := &Provisioner{
		options:  o,
		link:     &link.Link{Endpoint: address, TLS: o.tlsConfig, Roots: o.trust(claim), Dial: o.dialer, Proxy: o.proxyFor},
		template: template,
		claim:    claim,
		topics:   newTopics(o.ownKey != nil, template, o.format.Name),
		patterns: newTopics(o.ownKey != nil, template, "*"),

		unwritten: new(journal.Unwritten),
	}
	switch {
	case o.clientID != nil:
		p.client = diagnosis.Client{ID: *o.clientID, Fixed: true}
	case claim != nil && claim.clientID != "":
		p.client = diagnosis.Client{ID: claim.clientID, Device: true}
	}
	if p.client.ID != "" {
		p.turn = turn.New(p.client.ID)
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
// Progress is lost when the process exits. [Provisioner.Ensure] keeps it.
//
// The steps are those of the AWS developer guide, "fleet-provision-api".
func (p *Provisioner) Provision(ctx context.Context, parameters map[string]string) (*Credentials, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	r := p.newRun()
	if p.options.keyring != nil {
		return nil, r.steps.failed(OpPrepare, errors.New("a keyring needs a store that remembers which key is in use: call Ensure"))
	}
	if err := r.prepare(ctx, parameters); err != nil {
		return nil, err
	}
	credentials, err := r.repeat(ctx)
	if verify := p.options.verify; err == nil && verify != nil {
		err = verify(r, ctx, credentials)
	}
	return credentials, err
}

// run is one call of Provision, Ensure or Renew. It belongs to the goroutine of that
// call.
type run struct {
	p          *Provisioner
	parameters map[string]string
	steps      *steps
	gained     gained
	create     Op              // the operation that gets a certificate
	journal    recorder        // nil for Provision
	once       bool            // whether the first failure ends the run
	pipelined  bool            // whether a request was ever sent ahead of the SUBACK
	reached    bool            // whether the last attempt reached AWS IoT
	goodbye    <-chan struct{} // closed when the run's last connection is
}

// recorder is what a run with a store has more than one without. It is an interface so
// that a program without a store does not link what writes a journal.
type recorder interface {
	// created writes down a certificate that is about to be registered.
	created(context.Context, *gained) error

	// refusedFor writes down how long AWS IoT has refused the device.
	refusedFor(context.Context, time.Duration)

	// registered returns the credentials of a certificate whose token was refused, if
	// it turns out to be registered, and an error if that could not be found out.
	registered(context.Context, *turn.Taken) (*Credentials, error)
}

func (p *Provisioner) newRun() *run {
	o := p.options
	r := &run{p: p}
	r.gained.creation, r.create = o.creation()
	r.steps = &steps{timeout: o.stepTimeout, gained: &r.gained, now: o.now, log: o.log, progress: o.progress}
	return r
}

// check refuses a Provisioner that New has not made.
func (p *Provisioner) check() error {
	if p == nil || p.claim == nil {
		return &Error{Op: OpPrepare, Err: errors.New("the Provisioner was not made by New")}
	}
	return nil
}

// prepare refuses what AWS would refuse, before any network traffic.
func (r *run) prepare(ctx context.Context, parameters map[string]string) error {
	err := ctx.Err()
	if err == nil {
		err = checkParameters(parameters)
	}
	if err != nil {
		return r.steps.failed(OpPrepare, err)
	}
	if r.p.link.Endpoint.IsIP() {
		r.steps.log.warn(ctx, "the endpoint is an IP address: AWS IoT has none that answers, since it needs a host name in TLS (SNI): give the endpoint's name", "endpoint", r.p.link.Endpoint)
	}
	r.parameters = maps.Clone(parameters)
	r.steps.parameters = r.parameters
	return nil
}

// repeat makes attempts until one succeeds or no other could.
func (r *run) repeat(ctx context.Context) (*Credentials, error) {
	o := r.p.options
	loop := backoff.Loop{
		Policy:      o.backoff,
		MaxAttempts: o.maxAttempts,
		Retry:       o.retryIf,
		Reached:     func() bool { return r.reached },
		Certified:   func() bool { return r.gained.issued != nil },
		Waiting:     r.waiting,
	}
	if r.journal != nil {
		loop.Refused, loop.Keep, loop.Past = r.gained.refusedFor, r.journal.refusedFor, r.p.past
	}
	if r.once { // there is something to boot with
		loop.MaxAttempts, loop.AtOnce = 1, true
		loop.Retry = func(error) bool { return true } // by a later run, whatever it was
	}
	var credentials *Credentials
	err := loop.Run(ctx, func(ctx context.Context, number int) (done bool, err error) {
		r.steps.attempt = number
		credentials, err = r.attempt(ctx)
		return err == nil || credentials != nil, err
	})
	err = r.steps.interrupted(err)
	switch {
	case credentials == nil && r.gained.unread != nil:
		return r.gained.unread, r.steps.afterAcceptance(err)
	case credentials != nil && errors.Is(err, ErrBadResponse):
		return credentials, r.steps.afterAcceptance(err)
	}
	return credentials, err
}

// waiting reports the wait before the next attempt, unless the claim ends before it.
func (r *run) waiting(ctx context.Context, failed error, elapsed, wait time.Duration) error {
	if claim := r.p.claim.leaf; claim.NotAfter.Sub(r.p.options.now()) <= wait {
		return diagnosis.Ends(claim, r.p.client.Device)
	}
	p := Progress{Op: OpPrepare, Done: true, Elapsed: elapsed, Wait: wait, Err: failed}
	if failed != nil {
		p.Op = failed.(*Error).Op
	}
	r.steps.report(ctx, p)
	return nil
}

// attempt runs the exchange while the claim is valid, and while no other run uses its
// client id. Its error is an [*Error].
func (r *run) attempt(ctx context.Context) (*Credentials, error) {
	r.reached = false
	claim, now := r.p.claim.leaf, r.p.options.now()
	if err := diagnosis.Validity(claim, now, r.p.client.Device); err != nil {
		return nil, r.steps.failed(OpPrepare, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, claim.NotAfter.Sub(now), diagnosis.Expired(claim, r.p.client.Device))
	defer cancel()
	turn, err := r.p.turn.Take(ctx)
	if err != nil {
		return nil, r.steps.failed(OpPrepare, diagnosis.EndOf(ctx, err))
	}
	defer turn.Give()

	credentials, err := r.exchange(ctx, turn)
	if r.gained.issued == nil || r.gained.unread != nil || !tokenRefused(err, time.Since(r.gained.issuedAt)) {
		return credentials, err
	}
	if r.journal != nil {
		if c, err := r.journal.registered(ctx, turn); c != nil || err != nil {
			return c, err
		}
	}
	r.giveUp(ctx)
	// Over another connection: on the first a late repeat of the refusal would look
	// like the answer to the next registration.
	return r.exchange(ctx, turn)
}

// giveUp forgets the certificate, whose ownership token was refused. AWS deletes it,
// unless it was registered all the same.
func (r *run) giveUp(ctx context.Context) {
	g := &r.gained
	if g.asked {
		r.steps.log.warn(ctx, "a certificate that may be active is given up, since its ownership token was refused: deactivate it in AWS IoT", "certificateId", g.issued.ID)
		g.abandon(g.issued.ID)
	}
	g.issued, g.asked = nil, false
}

// exchange is the protocol: connect, subscribe, create, register, disconnect. A
// certificate that is there already is registered, not created again.
func (r *run) exchange(ctx context.Context, turn *turn.Taken) (*Credentials, error) {
	c, err := r.connect(ctx, turn)
	if err != nil {
		return nil, err
	}
	defer r.disconnect(c.session)
	if err := c.subscribe(ctx); err != nil {
		return nil, err
	}
	if r.gained.issued == nil {
		if err := c.create(ctx); err != nil {
			return nil, err
		}
	}
	if err := diagnosis.NewCertificate(r.gained.issued.Leaf, r.p.options.now()); err != nil {
		return nil, r.steps.failed(r.create, err)
	}
	return c.register(ctx)
}

// connection is the one connection of an exchange.
type connection struct {
	run       *run
	client    diagnosis.Client
	session   *mqttsession.Session
	pipelined bool // whether the request for a certificate was sent ahead of the SUBACK
}

// connect opens the connection with the claim's certificate.
func (r *run) connect(ctx context.Context, turn *turn.Taken) (*connection, error) {
	c := &connection{run: r, client: r.p.client}
	if c.client.ID == "" {
		c.client.ID = newClientID()
	}
	if r.gained.issued == nil {
		r.gained.creation.Begin()
	}
	if err := turn.Wait(ctx, c.client.ID); err != nil {
		return nil, r.steps.failed(OpPrepare, diagnosis.EndOf(ctx, err))
	}
	err := r.steps.take(ctx, OpConnect, &diagnosis.Connect{Client: c.client}, func(ctx context.Context) (err error) {
		c.session, err = r.p.link.Open(ctx, r.p.claim.certificate, c.client.ID, r.p.topics.answers()...)
		r.reached = link.Reached(err)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func newClientID() string { return "fleetprov-" + rand.Text() }

// subscribe asks for the answers before there can be any. A client that does
// not may miss them (AWS developer guide, "fleet-provision-api").
func (c *connection) subscribe(ctx context.Context) error {
	r := c.run
	request, ahead := r.requestAhead()
	c.pipelined = ahead
	hints := &diagnosis.Subscribe{Client: c.client, Create: r.p.patterns.create, Register: r.p.patterns.register, Pipelined: ahead}
	return r.steps.take(ctx, OpSubscribe, hints, func(ctx context.Context) error {
		if err := c.session.Subscribe(ctx); err != nil {
			return err
		}
		if ahead {
			r.pipelined = true
			if err := c.session.Publish(ctx, r.p.topics.create, request); err != nil {
				return err
			}
		}
		return c.session.Subscribed(ctx)
	})
}

// requestAhead returns the request for a certificate if it goes between SUBSCRIBE and
// its SUBACK. It does so once in a run, since AWS does not promise that the answer is
// received then, and each lost answer is a certificate that nobody has. RegisterThing
// is never sent ahead, since it makes a certificate active. A key that is still being
// made is not waited for.
func (r *run) requestAhead() (request []byte, ahead bool) {
	if !r.p.options.pipelining || r.pipelined || r.gained.issued != nil {
		return nil, false
	}
	return r.gained.creation.Request()
}

// create gets a certificate, which is not active yet: for the device's own key,
// or together with a key that AWS makes.
func (c *connection) create(ctx context.Context) error {
	r := c.run
	client := &exchange.Client{Session: c.session, Format: r.p.options.format, Sent: c.pipelined}
	hints := &diagnosis.Create{Client: c.client, Topics: r.p.patterns.create, Pipelined: c.pipelined}
	err := r.steps.take(ctx, r.create, hints, func(ctx context.Context) (err error) {
		r.gained.issued, err = r.gained.creation.Create(ctx, client, r.p.topics.create)
		return err
	})
	if err != nil {
		return err
	}
	r.gained.issuedAt, r.gained.keyLabel = time.Now(), r.gained.newLabel
	if issued := r.gained.issued; !issued.IDIsDigest() { // as it has always been, though AWS does not document it
		r.steps.log.warn(ctx, "the certificate id is not the SHA-256 of the certificate, as AWS IoT makes it: check the endpoint, and report it if that is right", "certificateId", issued.ID)
	}
	return nil
}

// register makes the certificate active and the device a thing. The certificate is
// written down before, if there is a journal: from here on it may be active.
func (c *connection) register(ctx context.Context) (*Credentials, error) {
	r := c.run
	if r.journal != nil {
		if err := r.journal.created(ctx, &r.gained); err != nil {
			return nil, err
		}
	}
	client := exchange.Client{Session: c.session, Format: r.p.options.format}
	hints := &diagnosis.Register{Client: c.client, Topics: r.p.patterns.register, Template: r.p.template}
	var registered *exchange.Registered
	err := r.steps.take(ctx, OpRegisterThing, hints, func(ctx context.Context) (err error) {
		registered, err = client.RegisterThing(ctx, r.p.topics.register, r.gained.issued.Token, r.parameters)
		return err
	})
	if registered == nil {
		r.gained.asked = r.gained.asked || !isRefused(err)
		return nil, err
	}
	credentials := newCredentials(r.p.file(&r.gained, registered))
	if err != nil && registered.ThingName == "" && r.gained.unread == nil {
		r.gained.unread = credentials
		return nil, err
	}
	r.warnOfName(ctx, registered.ThingName)
	return credentials, err
}

// warnOfName warns of a thing name under which a device cannot connect.
func (r *run) warnOfName(ctx context.Context, name string) {
	switch {
	case name == "":
		r.steps.log.warn(ctx, diagnosis.NoThing, "template", r.p.template)
	case !isThingName(name):
		r.steps.log.warn(ctx, "the thing name is not 1 to 128 letters, digits, colons, underscores and hyphens, as AWS IoT has them: change what the template makes of the parameters", "thingName", name)
	}
}

// file puts together what AWS gave.
func (p *Provisioner) file(g *gained, registered *exchange.Registered) *credfile.File {
	return &credfile.File{
		ThingName:               registered.ThingName,
		CertificateID:           g.issued.ID,
		Chain:                   g.issued.Chain,
		Key:                     g.issued.Key,
		Endpoint:                p.link.Endpoint.String(),
		Roots:                   p.claim.Roots(),
		DeviceConfiguration:     registered.DeviceConfiguration,
		AbandonedCertificateIDs: g.abandonedBeside(g.issued.ID),
		KeyLabel:                g.keyLabel,
	}
}

// disconnect says goodbye. Only a caller about to reconnect under the same client id
// waits for it.
func (r *run) disconnect(session *mqttsession.Session) {
	session.Close()
	r.goodbye = session.Closed()
}

// verify connects as the device, under the thing name, to which policies of devices
// often pin the client id.
func (r *run) verify(ctx context.Context, c *Credentials) error {
	taken, err := r.p.turn.Take(ctx)
	if err != nil {
		return r.steps.failed(OpVerify, diagnosis.EndOf(ctx, err))
	}
	defer taken.Give()
	return r.connectAs(ctx, c, taken)
}

// connectAs connects as the thing of credentials, and disconnects.
func (r *run) connectAs(ctx context.Context, c *Credentials, taken *turn.Taken) error {
	certificate, err := c.TLSCertificate()
	if err != nil {
		return r.steps.failed(OpVerify, err)
	}
	if r.goodbye != nil {
		<-r.goodbye
	}
	hints := &diagnosis.Verify{Client: diagnosis.Client{ID: c.ThingName, Device: true}}
	if c.ThingName == "" {
		hints.Client, hints.NoThing = diagnosis.Client{ID: newClientID()}, true
	}
	if err := taken.Wait(ctx, hints.Client.ID); err != nil {
		return r.steps.failed(OpVerify, diagnosis.EndOf(ctx, err))
	}
	return r.steps.take(ctx, OpVerify, hints, func(ctx context.Context) error {
		session, err := r.p.link.OpenActivated(ctx, &certificate, hints.Client.ID, taken)
		if err == nil {
			r.disconnect(session)
		}
		return err
	})
}
