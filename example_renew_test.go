package fleetprov_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// Here the Provisioner has the claim. A device that has erased it makes one with
// [fleetprov.Credentials.Identity] in its place, and closes its own session first.
func ExampleProvisioner_Renew() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, ctx := fleetprov.DirStore(dir), context.Background()
	first, err := provisioner.Ensure(ctx, store, map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}

	renewed, err := provisioner.Renew(ctx, store, map[string]string{"ThingName": first.ThingName})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same thing:", renewed.ThingName == first.ThingName)
	fmt.Println("another certificate:", renewed.CertificateID != first.CertificateID)
	fmt.Println("what may be deactivated:", renewed.PreviousCertificateID == first.CertificateID)
	// Output:
	// the same thing: true
	// another certificate: true
	// what may be deactivated: true
}
