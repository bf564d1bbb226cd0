// Package iotregistry is what an AWS IoT account knows of its fleet: the certificates
// it has issued with their ownership tokens, the things, the policies, and the
// provisioning templates. A [Registry] holds all of them, because most operations
// touch several at once; every front end of an endpoint works on the same one.
//
// It decides nothing about connections and sends nothing: it answers what a
// certificate is, and what may be done with it.
package iotregistry

import (
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// Registry holds the certificates, things, policies and templates of one account. All
// methods are safe for concurrent use. Values that go in or come out are copies, except
// for parsed certificates, policies and templates, which do not change.
type Registry struct {
	now func() time.Time // decides when tokens expire

	mu           sync.Mutex // guards everything below, and orders calls of keep
	rules        Rules
	claims       claims
	certificates certificates
	things       things
	policies     policies
	templates    templates
	detachments  detachments
	keep         func(Change) // records a change; never nil
}

// New returns a registry without certificates, things, policies and templates. now is
// the clock by which tokens expire.
func New(now func() time.Time) *Registry {
	return &Registry{
		now:          now,
		claims:       newClaims(),
		certificates: newCertificates(),
		things:       newThings(),
		policies:     newPolicies(),
		templates:    newTemplates(),
		detachments:  make(detachments),
		keep:         func(Change) {},
	}
}

// Rules are what is not known of AWS IoT, or not the same every time, and can therefore
// be chosen.
type Rules struct {
	// ActivationLag is how long after its registration a certificate cannot connect yet,
	// although it is active.
	ActivationLag time.Duration

	// SingleUseTokens makes a token that has registered its certificate useless.
	SingleUseTokens bool
}

// SetRules replaces the rules, which are all zero at first.
func (r *Registry) SetRules(rules Rules) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = rules
}

// SetClaim makes the certificate with that id the claim that the account has from the
// beginning. Its status stays as it is.
func (r *Registry) SetClaim(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims.id = id
}

// Certificates returns the certificates in the order in which they were issued, without
// those that were deleted or have disappeared with their token.
func (r *Registry) Certificates() []Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	var all []Certificate
	for _, c := range r.certificates.inOrder {
		all = append(all, c.clone())
	}
	return all
}

// Things returns the things in the order of their first registration.
func (r *Registry) Things() []Thing {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked()
	var all []Thing
	for _, t := range r.things.inOrder {
		all = append(all, t.clone())
	}
	return all
}

// SetPolicies sets the policy of the claim and that of devices. With a claim of nil, the
// claim may provision with every template, and do nothing else. The policy of devices
// also takes the place of each policy that is attached but was not added.
func (r *Registry) SetPolicies(claim, device *iotpolicy.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policies.claim, r.policies.device = claim, device
}

// AddPolicy adds a policy that templates may name, or replaces the one of that name. It
// fails if document is not a policy document.
func (r *Registry) AddPolicy(name, document string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policies.add(name, document, r.now())
}

// expireLocked makes the changes that only the time brings about: it deletes what an
// expired token takes with it, and detaches what was to be detached by now. Every method
// that looks at certificates or claims calls it first.
func (r *Registry) expireLocked() {
	r.detachLocked()
	for _, c := range r.certificates.expire(r.now()) {
		r.things.detach(c.ID)
	}
	r.claims.expire(r.now())
}

// detachLocked makes the detachments that are due.
func (r *Registry) detachLocked() {
	for _, d := range r.detachments.due(r.now()) {
		var change Change
		if c := r.certificates.byID[d.certificateID]; c != nil {
			if d.policy != "" {
				c.Policies = without(c.Policies, d.policy)
			} else {
				c.ExclusiveThing = false
			}
			change.Certificate = newCertificateChange(c)
		}
		if t := r.things.byName[d.thing]; t != nil {
			t.CertificateIDs = without(t.CertificateIDs, d.certificateID)
			change.Thing = t
		}
		r.keep(change)
	}
}
