package fleetprovtest

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// gate decides which certificates a client can connect with, in the handshake or at
// CONNECT. It does not change.
type gate struct {
	registry *iotregistry.Registry
	now      func() time.Time
}

// check returns why no client can connect with a certificate, or nil
// (transport-security, x509-client-certs).
func (g gate) check(certificate *x509.Certificate) error {
	now := g.now()
	switch {
	case now.Before(certificate.NotBefore):
		return fmt.Errorf("the certificate is valid only from %s", certificate.NotBefore.UTC().Format(time.RFC3339))
	case now.After(certificate.NotAfter):
		return fmt.Errorf("the certificate expired on %s", certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return g.registry.CanConnect(iotregistry.CertificateID(certificate))
}
