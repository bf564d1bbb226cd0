package fleetprov_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func ExampleParsePFX() {
	server := fleetprovtest.NewUnstartedServer()
	defer server.Close()
	pfx := server.ClaimPFX("password") // in firmware: //go:embed claim_identity.pfx

	_, err := fleetprov.ParsePFX(pfx, "guess")
	fmt.Println("incorrect password:", errors.Is(err, fleetprov.ErrIncorrectPassword))

	claim, err := fleetprov.ParsePFX(pfx, "password")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("certificate:", claim.Certificate().Subject)
	fmt.Println("server roots:", len(claim.Roots()))
	// Output:
	// incorrect password: true
	// certificate: CN=AWS IoT Certificate
	// server roots: 1
}
