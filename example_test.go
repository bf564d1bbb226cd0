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

// provisionDevice is all that a device does on first boot.
func provisionDevice(ctx context.Context, endpoint, pfx, password string) (*fleetprov.Credentials, error) {
	claim, err := fleetprov.LoadPFX(pfx, password)
	if err != nil {
		return nil, err
	}
	provisioner, err := fleetprov.New(endpoint, "fleet-template", claim)
	if err != nil {
		return nil, err
	}
	return provisioner.Provision(ctx, map[string]string{"SerialNumber": "12345"})
}

// An endpoint of package fleetprovtest stands in for AWS here, and a PFX file in a
// temporary directory for the one from the factory.
func Example() {
	server := fleetprovtest.NewUnstartedServer()
	server.Template = "fleet-template"
	server.DeviceConfiguration = map[string]string{"telemetryIntervalSeconds": "60"}
	server.Start()
	defer server.Close()

	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pfx := filepath.Join(dir, "claim_identity.pfx")
	if err := os.WriteFile(pfx, server.ClaimPFX("password"), 0o600); err != nil {
		log.Fatal(err)
	}

	credentials, err := provisionDevice(context.Background(), server.Endpoint(), pfx, "password")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("thing:", credentials.ThingName)
	fmt.Println("certificate id:", len(credentials.CertificateID), "characters")
	fmt.Println("configuration:", credentials.DeviceConfiguration)
	// Output:
	// thing: 12345
	// certificate id: 64 characters
	// configuration: map[telemetryIntervalSeconds:60]
}
