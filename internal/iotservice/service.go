// Package iotservice performs the operations of AWS IoT fleet provisioning
// (fleet-provision-api): CreateKeysAndCertificate, CreateCertificateFromCsr and
// RegisterThing with its pre-provisioning hook. How a request came in, what its payload
// looks like and how the answer goes out is up to the front end that calls it, of which
// there may be several.
package iotservice

import (
	"crypto"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// CertificateName is the common name in every certificate that AWS IoT issues.
const CertificateName = "AWS IoT Certificate"

// clockSkew is how far in the past the validity of an issued certificate begins, for
// devices whose clock is behind.
const clockSkew = 2 * time.Minute

// Service performs operations on a registry, which holds what comes of them. Of its own it
// has only keys that are being made and hooks that have not returned. All methods are safe
// for concurrent use.
type Service struct {
	registry *iotregistry.Registry
	settings Settings
	keys     *keyPool
	hooks    *hookCaller
}

// Account is what of an AWS account is outside of AWS IoT and has its say in a
// registration.
type Account interface {
	// Invoke calls the function of a hook. It returns soon after the five seconds that
	// AWS IoT waits for it.
	Invoke(targetARN string, request HookRequest) (HookResponse, error)
	// CheckRole fails if AWS IoT cannot register things with a role.
	CheckRole(arn string) error
}

// Settings are what a [Service] is made from.
type Settings struct {
	CA       *testca.CA       // issues the certificates
	Now      func() time.Time // decides when they expire
	Validity time.Duration    // from Now until then; 0: until the end of 2049
	Hook     Hook             // of templates that name none; nil: everything is allowed
	Provider Provider         // issues in place of CA where there is a request to sign; nil: CA does
	Account  Account          // is asked about the roles and hooks that templates name; nil: they name none
}

// New returns a service. The caller ends it with [Service.Stop] and [Service.Wait].
func New(registry *iotregistry.Registry, settings Settings) *Service {
	return &Service{registry: registry, settings: settings, keys: newKeyPool(), hooks: new(hookCaller)}
}

// PrepareKey starts making a key for a client that is about to create one.
func (s *Service) PrepareKey() { s.keys.prepare() }

// Stop ends the wait of everyone who waits for a key; they are told that the server is
// closing.
func (s *Service) Stop() { s.keys.close() }

// Wait waits for every goroutine of the service, hooks included. It must be called after
// Stop, once no operation is under way any more.
func (s *Service) Wait() {
	s.keys.wait()
	s.hooks.wait()
}

// issue issues a certificate that waits for its registration.
func (s *Service) issue(public crypto.PublicKey) (iotregistry.Certificate, error) {
	validity := testca.Validity{NotBefore: time.Now().Add(-clockSkew)}
	if s.settings.Validity > 0 {
		validity.NotAfter = s.settings.Now().Add(s.settings.Validity)
	}
	certificate, err := s.settings.CA.Issue(CertificateName, validity, public)
	if err != nil {
		return iotregistry.Certificate{}, err
	}
	return s.registry.Issue(certificate, newToken())
}
