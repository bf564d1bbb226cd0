package fleetprov_test

import (
	"context"
	"fmt"
	"log"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// The private key is made on the device and never travels.
func ExampleWithGeneratedKey() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}

	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim,
		fleetprov.WithGeneratedKey(),
		fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Done {
				fmt.Println(p.Op, "done")
			}
		}))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := provisioner.Provision(context.Background(), nil); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Connect done
	// Subscribe done
	// CreateCertificateFromCsr done
	// RegisterThing done
}
