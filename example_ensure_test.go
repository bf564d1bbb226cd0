package fleetprov_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// bootDevice is what firmware does at every boot.
func bootDevice(ctx context.Context, dir, endpoint, pfx, password string) (*fleetprov.Credentials, error) {
	store := fleetprov.DirStore(dir)
	if credentials, err := fleetprov.LoadCredentials(ctx, store); err == nil {
		return credentials, nil // needs neither claim nor network
	}
	provisioner, err := firstBoot(endpoint, pfx, password) // LoadPFX and New
	if err != nil {
		return nil, err
	}
	return provisioner.Ensure(ctx, store, map[string]string{"SerialNumber": "12345"})
}

// firstBoot makes the Provisioner of a device that has its claim still.
func firstBoot(endpoint, pfx, password string) (*fleetprov.Provisioner, error) {
	claim, err := fleetprov.LoadPFX(pfx, password)
	if err != nil {
		return nil, err
	}
	return fleetprov.New(endpoint, "fleet-template", claim)
}

// The first boot provisions the device. After it the claim can be erased: the
// second boot reads what the first has stored.
func ExampleProvisioner_Ensure() {
	server := fleetprovtest.NewUnstartedServer()
	server.Template = "fleet-template"
	server.Start()
	defer server.Close()

	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pfx, state := filepath.Join(dir, "claim_identity.pfx"), filepath.Join(dir, "state")
	if err := os.WriteFile(pfx, server.ClaimPFX("password"), 0o600); err != nil {
		log.Fatal(err)
	}

	first, err := bootDevice(context.Background(), state, server.Endpoint(), pfx, "password")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("first boot:", first.ThingName)

	server.Close()
	if err := os.Remove(pfx); err != nil {
		log.Fatal(err)
	}
	second, err := bootDevice(context.Background(), state, server.Endpoint(), pfx, "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("second boot:", second.ThingName)
	fmt.Println("the same certificate:", first.CertificateID == second.CertificateID)
	// Output:
	// first boot: 12345
	// second boot: 12345
	// the same certificate: true
}
