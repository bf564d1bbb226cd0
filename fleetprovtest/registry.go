package fleetprovtest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"
)

// tokenLifetime is how long a certificate waits for its registration
// (provision-wo-cert).
const tokenLifetime = time.Hour

// registry holds what was issued and registered. The Server's mutex guards it.
type registry struct {
	claimStatus  string
	certificates []*issued // in order of issue
	byID         map[string]*issued
	things       []*Thing
	byName       map[string]*Thing

	// tokens are the certificates whose token has not expired, the oldest first.
	tokens  []*issued
	byToken map[string]*issued
}

func newRegistry() registry {
	return registry{
		claimStatus: StatusActive,
		byID:        make(map[string]*issued),
		byName:      make(map[string]*Thing),
		byToken:     make(map[string]*issued),
	}
}

// issued is a certificate with what RegisterThing needs to know of it.
type issued struct {
	id          string
	certificate *x509.Certificate
	token       string // "" once it has expired
	issuedAt    time.Time
	status      string
	thingName   string   // "" until registered, or if the template has no thing
	registered  bool     // by RegisterThing
	policies    []string // names
}

func certificateID(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

func (r *registry) add(c *issued) {
	r.certificates = append(r.certificates, c)
	r.byID[c.id] = c
	if c.token != "" {
		r.tokens = append(r.tokens, c)
		r.byToken[c.token] = c
	}
}

// restore is add for a certificate that may be there already.
func (r *registry) restore(c *issued) {
	old := r.byID[c.id]
	if old == nil {
		r.add(c)
		return
	}
	delete(r.byToken, old.token)
	*old = *c
	if c.token != "" {
		r.byToken[c.token] = old
	}
}

func (r *registry) delete(c *issued) {
	delete(r.byID, c.id)
	delete(r.byToken, c.token)
	r.certificates = slices.DeleteFunc(r.certificates, func(other *issued) bool { return other == c })
	r.tokens = slices.DeleteFunc(r.tokens, func(other *issued) bool { return other == c })
	r.detach(c)
}

// detach removes a certificate that no longer exists from its thing.
func (r *registry) detach(c *issued) {
	if t := r.byName[c.thingName]; t != nil {
		t.CertificateIDs = slices.DeleteFunc(t.CertificateIDs, func(id string) bool { return id == c.id })
	}
}

// expire ends the tokens that are an hour old, and deletes those of their
// certificates that still wait for activation.
func (r *registry) expire(now time.Time) {
	expired := 0
	for expired < len(r.tokens) && now.Sub(r.tokens[expired].issuedAt) >= tokenLifetime {
		expired++
	}
	if expired == 0 {
		return
	}
	unused := make(map[*issued]bool)
	for _, c := range r.tokens[:expired] {
		delete(r.byToken, c.token)
		c.token = ""
		if c.status == StatusPendingActivation {
			delete(r.byID, c.id)
			r.detach(c)
			unused[c] = true
		}
	}
	clear(r.tokens[:expired])
	r.tokens = r.tokens[expired:]
	if len(unused) > 0 {
		r.certificates = slices.DeleteFunc(r.certificates, func(c *issued) bool { return unused[c] })
	}
}

// put adds t, or replaces the thing of its name.
func (r *registry) put(t *Thing) {
	if old := r.byName[t.Name]; old != nil {
		*old = *t
		return
	}
	r.things = append(r.things, t)
	r.byName[t.Name] = t
}
