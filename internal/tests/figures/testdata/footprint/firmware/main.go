// Command firmware is the least a device needs to be provisioned by this library.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/fleetprov/fleetprov"
)

func main() {
	claim, err := fleetprov.LoadPFX(os.Getenv("CLAIM_PFX"), os.Getenv("CLAIM_PASSWORD"))
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := fleetprov.New(os.Getenv("ENDPOINT"), os.Getenv("TEMPLATE"), claim)
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := provisioner.Provision(context.Background(), map[string]string{"SerialNumber": os.Getenv("SERIAL_NUMBER")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(credentials.ThingName)
	// Whoever started it may look at the process before it ends.
	_, _ = io.Copy(io.Discard, os.Stdin)
}
