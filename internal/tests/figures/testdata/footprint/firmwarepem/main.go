// Command firmwarepem is the firmware with a claim in PEM.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/fleetprov/fleetprov"
)

func main() {
	pair, err := tls.LoadX509KeyPair(os.Getenv("CLAIM_CERTIFICATE"), os.Getenv("CLAIM_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	claim, err := fleetprov.NewIdentity(pair)
	if err != nil {
		log.Fatal(err)
	}
	var options []fleetprov.Option
	if root, err := os.ReadFile(os.Getenv("ROOT_CA")); err == nil { // of an endpoint that is not AWS's
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(root)
		options = append(options, fleetprov.WithRootCAs(roots))
	}
	provisioner, err := fleetprov.New(os.Getenv("ENDPOINT"), os.Getenv("TEMPLATE"), claim, options...)
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
