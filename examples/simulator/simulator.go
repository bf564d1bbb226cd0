package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// simulator is the endpoint and the settings it was made from.
type simulator struct {
	settings
	server     *fleetprovtest.Server
	parameters []string // that a device has to send
}

// newSimulator fails if there is something wrong with the documents that the
// settings name. The caller closes the server.
func newSimulator(s settings, logger *slog.Logger) (*simulator, error) {
	server := fleetprovtest.NewUnstartedServer()
	server.Listener.Close()
	server.ServerNames = s.serverNames
	server.RequireALPN = s.alpn
	server.Refusal = s.refusal
	server.RefuseWithSUBACK = s.suback
	server.RequireSubscription = s.subscription
	server.ActivationLag = s.activationLag
	server.SingleUseTokens = s.singleUse
	server.CertificateValidity = s.validity
	server.Quotas = s.quotas
	server.ClientQuotas = s.clientQuotas
	server.Template = s.templateName
	server.Logger = logger
	server.MaxRequests = 1 // nothing reads them, and 0 would keep them all
	for _, injected := range s.faults {
		for range injected.count {
			server.Inject(injected.op, injected.fault)
		}
	}
	sim := &simulator{settings: s, server: server, parameters: []string{"SerialNumber"}}
	if err := sim.addDocuments(); err != nil {
		server.Close()
		return nil, err
	}
	return sim, nil
}

func (sim *simulator) addDocuments() (err error) {
	if sim.template != "" {
		body, err := sim.addTemplate(sim.templateName, sim.template)
		if err != nil {
			return err
		}
		if sim.parameters, err = requiredParameters(body); err != nil {
			return fmt.Errorf("-template %s: %w", sim.template, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sim.templates)) {
		if _, err := sim.addTemplate(name, sim.templates[name]); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sim.policies)) {
		if _, err := sim.addPolicy("-policy", name, sim.policies[name]); err != nil {
			return err
		}
	}
	// These two are added only to have them checked: no template can use such names.
	if sim.claimPolicy != "" {
		if sim.server.ClaimPolicy, err = sim.addPolicy("-claim-policy", "of the claim", sim.claimPolicy); err != nil {
			return err
		}
	}
	if sim.devicePolicy != "" {
		if sim.server.DevicePolicy, err = sim.addPolicy("-device-policy", "of a device", sim.devicePolicy); err != nil {
			return err
		}
	}
	return nil
}

// addTemplate adds the template in a file, and returns its body.
func (sim *simulator) addTemplate(name, path string) ([]byte, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("-template: %w", err)
	}
	if err := sim.server.AddTemplate(name, string(body)); err != nil {
		return nil, fmt.Errorf("-template %s: %w", path, err)
	}
	return body, nil
}

// addPolicy adds the policy document in a file, and returns it.
func (sim *simulator) addPolicy(flag, name, path string) (string, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	if err := sim.server.AddPolicy(name, string(document)); err != nil {
		return "", fmt.Errorf("%s %s: %w", flag, path, err)
	}
	return string(document), nil
}

// run serves clients until ctx ends.
func (sim *simulator) run(ctx context.Context, stdout io.Writer) error {
	defer sim.server.Close()
	listener, err := net.Listen("tcp", sim.addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr; port 0 is any that is free", err)
	}
	sim.server.Listener = listener
	dir, err := openDirectory(sim.dir)
	if err != nil {
		return err
	}
	if err := sim.server.KeepState(filepath.Join(dir, stateFile)); err != nil {
		return fmt.Errorf("%w: name another directory with -dir, or move the file away to start afresh with another claim", err)
	}
	if err := writeClaim(dir, sim.server, sim.password); err != nil {
		return err
	}
	sim.server.Start()
	if sim.control != "" {
		stop, err := sim.serveControl(stdout)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := sim.printInstructions(stdout, dir); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
