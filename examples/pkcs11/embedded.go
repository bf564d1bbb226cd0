package main

import (
	"context"
	"crypto"
	"fmt"
	"os"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// embed starts an endpoint in this process, and gives m its address, its template and
// its claim. The caller calls end, after which the directory is gone, too.
func embed(m *fleetprov.Manager) (directory string, end func(), err error) {
	directory, err = os.MkdirTemp("", "fleetprov-")
	if err != nil {
		return "", nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	server := fleetprovtest.NewServer()
	m.Endpoint = server.Endpoint()
	m.Template, m.RenewTemplate = "test-template", "test-template"
	m.Claim = func(context.Context) (*fleetprov.Identity, error) {
		return fleetprov.NewIdentity(server.ClaimCertificate(), server.RootCertificate())
	}
	return directory, func() {
		server.Close()
		os.RemoveAll(directory)
	}, nil
}

// apart keeps the keys of the embedded endpoint apart from those that the token may have
// for AWS.
type apart struct{ fleetprov.Keyring }

func (k apart) Generate(ctx context.Context, label string) (crypto.Signer, error) {
	return k.Keyring.Generate(ctx, "embedded-"+label)
}

func (k apart) Key(ctx context.Context, label string) (crypto.Signer, error) {
	return k.Keyring.Key(ctx, "embedded-"+label)
}
