package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/fleetprov/fleetprov"
)

// identify returns the device's credentials: those it has, or else new ones. A claim
// is needed only for new ones.
func identify(ctx context.Context, s settings, store fleetprov.Store, options []fleetprov.Option) (*fleetprov.Credentials, error) {
	credentials, unusable := fleetprov.LoadCredentials(ctx, store)
	switch {
	case unusable == nil && s.embedded && credentials.Endpoint != s.endpoint:
		return nil, fmt.Errorf("the credentials in %s are for an endpoint that ended with the program it was embedded in: name another directory with -state, or leave it out", s.state)
	case unusable == nil && !expired(credentials):
		return credentials, nil
	case errors.Is(unusable, fs.ErrNotExist):
		unusable = nil
	}
	if s.template == "" {
		return nil, errors.Join(unusable, errors.New("there is no template: name it with -template or TEMPLATE_NAME; aws iot list-provisioning-templates prints those of the account"))
	}
	claim, err := loadClaim(s.pfx, s.password)
	if err != nil {
		return nil, errors.Join(unusable, err)
	}
	provisioner, err := fleetprov.New(s.endpoint, s.template, claim, options...)
	if err != nil {
		return nil, err
	}
	// The claim may be erased once Ensure has returned without an error.
	return provisioner.Ensure(ctx, store, s.parameters)
}

// expired reports whether the certificate has expired, so that Ensure has to replace
// the credentials.
func expired(credentials *fleetprov.Credentials) bool {
	certificate, err := credentials.TLSCertificate()
	return err == nil && time.Now().After(certificate.Leaf.NotAfter)
}

// loadClaim opens the claim. Its errors tell the user of this program what to do.
func loadClaim(path, password string) (*fleetprov.Identity, error) {
	claim, err := fleetprov.LoadPFX(path, password)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: the device needs a claim to get credentials: put it there or name it with -pfx; examples/secrets/README.md says how to make it", err)
	case errors.Is(err, fleetprov.ErrIncorrectPassword):
		return nil, fmt.Errorf("%w: set IDENTITY_PASSWORD to the password of the file", err)
	case err != nil:
		return nil, fmt.Errorf("%w: examples/secrets/README.md says how to make the claim", err)
	default:
		return claim, nil
	}
}
