package main

import (
	"context"
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
