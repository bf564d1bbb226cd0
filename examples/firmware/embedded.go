package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// embed starts an endpoint in this process and fills in the settings: what a factory
// would give to the device, and what the user left out. The caller calls end.
func embed(s settings) (_ settings, end func(), err error) {
	if s.pfx != defaultPFX {
		return s, nil, errors.New("-pfx is for AWS: set AWS_HOSTNAME to the endpoint that aws iot describe-endpoint --endpoint-type iot:Data-ATS prints, or leave -pfx out")
	}
	dir, err := os.MkdirTemp("", "fleetprov-")
	if err != nil {
		return s, nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	if s.template == "" {
		s.template = "fleet-template"
	}
	if len(s.parameters) == 0 {
		s.parameters["SerialNumber"] = "0001"
	}
	if s.state == "" {
		s.state = filepath.Join(dir, defaultState)
	}
	s.renewTemplate = s.template // the endpoint has one
	s.pfx = filepath.Join(dir, filepath.Base(defaultPFX))
	s.password = rand.Text()
	s.embedded = true

	server := fleetprovtest.NewUnstartedServer()
	server.Template = s.template
	server.Start()
	end = func() {
		server.Close()
		os.RemoveAll(dir) // and the credentials: no endpoint knows them any more
	}
	s.endpoint = server.Endpoint()
	if err := os.WriteFile(s.pfx, server.ClaimPFX(s.password), 0o600); err != nil {
		end()
		return s, nil, fmt.Errorf("writing the claim: %w", err)
	}
	return s, end, nil
}
