package fleetprovtest_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// behaviour is something that AWS IoT does to its clients.
type behaviour struct {
	name  string                      // reads as a sentence
	fact  string                      // an AWS page and what it says, or what was observed
	setup func(*fleetprovtest.Server) // changes a server before Start; nil: nothing
	steps func(*desk)
}

// walk tests behaviours, each with a server of its own. Time is virtual, and every
// goroutine of the server must end with it.
func walk(t *testing.T, behaviours []behaviour) {
	t.Helper()
	for _, b := range behaviours {
		t.Run(b.name, func(t *testing.T) {
			require.NotEmpty(t, b.fact)
			synctest.Test(t, func(t *testing.T) {
				defer func() {
					if t.Failed() {
						t.Log("this rests on the fact: " + b.fact)
					}
				}()
				b.steps(newDesk(t, b.setup))
			})
		})
	}
}

// desk is where clients meet a server inside a bubble, without a network.
type desk struct {
	*testing.T
	server   *fleetprovtest.Server
	listener *fleetprovtest.PipeListener
}

func newDesk(t *testing.T, setup func(*fleetprovtest.Server)) *desk {
	t.Helper()
	server, listener := onPipesUnstarted(t)
	if setup != nil {
		setup(server)
	}
	server.Start()
	t.Cleanup(server.Close)
	return &desk{t, server, listener}
}

// handshake opens a connection up to its CONNECT.
func (d *desk) handshake(certificate tls.Certificate) *client {
	d.Helper()
	c, err := handshake(d.T, connectPipe(d.T, d.listener), clientConfig(d.server, certificate))
	require.NoError(d, err)
	return c
}

// connect opens a connection that the server accepts.
func (d *desk) connect(certificate tls.Certificate, clientID string) *client {
	d.Helper()
	c := d.handshake(certificate)
	c.connect(clientID)
	return c
}

// claim is connect with the claim certificate.
func (d *desk) claim(clientID string) *client {
	d.Helper()
	return d.connect(d.server.ClaimCertificate(), clientID)
}

// notAuthorized requires that a CONNECT is refused, by closing the connection without a
// word.
func (d *desk) notAuthorized(certificate tls.Certificate, clientID string) {
	d.Helper()
	c := d.handshake(certificate)
	c.sendConnect(clientID)
	c.closedAfter(0)
}

// refused requires that no client can connect with a certificate.
func (d *desk) refused(certificate tls.Certificate) {
	d.Helper()
	d.notAuthorized(certificate, "device-1")
}

// pass lets virtual time pass.
func (d *desk) pass(t time.Duration) { <-time.After(t) }

// settle waits until every goroutine is waiting.
func (d *desk) settle() { synctest.Wait() }

// stay lets virtual time pass while pings keep the connection alive.
func (c *client) stay(t time.Duration) {
	c.t.Helper()
	for end := time.Now().Add(t); time.Now().Before(end); c.ping() {
		<-time.After(min(time.Minute, time.Until(end)))
	}
}

// enrol registers a device with a template, and returns what it was given.
func (d *desk) enrol(template, parameters string) (created, tls.Certificate) {
	d.Helper()
	c := d.claim("fleetprov-enrolling")
	issued, certificate := c.createFromCSR()
	answer := c.register(template, issued.CertificateOwnershipToken, parameters)
	require.Equal(d, templateTopic(template)+"/accepted", answer.TopicName, "%s", answer.Payload)
	return issued, certificate
}

// device registers a thing with that name, and connects as it.
func (d *desk) device(thing string) *client {
	d.Helper()
	_, certificate := d.enrol("test-template", `{"ThingName":"`+thing+`"}`)
	return d.connect(certificate, thing)
}

// createFromCSR runs CreateCertificateFromCsr, which unlike
// CreateKeysAndCertificate takes the server no time.
func (c *client) createFromCSR() (created, tls.Certificate) {
	c.t.Helper()
	key := ecKey(c.t, elliptic.P256())
	c.subscribe(csrTopic+"/accepted", csrTopic+"/rejected")
	answer := c.request(csrTopic, csrPayload(c.t, csr(c.t, key, nil)))
	require.Equal(c.t, csrTopic+"/accepted", answer.TopicName)
	issued := decode[created](c.t, answer.Payload)
	return issued, pairWith(c.t, issued, key)
}

func pairWith(t *testing.T, issued created, key crypto.Signer) tls.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(derOf(t, issued.CertificatePEM))
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}
