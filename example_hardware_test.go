package fleetprov_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"log"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// secureElement stands for the driver of a TPM, a secure element or a PKCS #11
// token: it signs, and gives the private key to nobody.
type secureElement struct{ key crypto.Signer }

func (s secureElement) Public() crypto.PublicKey { return s.key.Public() }

func (s secureElement) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(random, digest, opts)
}

// The claim's key may live in hardware: all that is asked of it is to sign.
func ExampleNewIdentity() {
	server := fleetprovtest.NewServer()
	defer server.Close()

	certificate := server.ClaimCertificate()
	certificate.PrivateKey = secureElement{certificate.PrivateKey.(crypto.Signer)}
	claim, err := fleetprov.NewIdentity(certificate)
	if err != nil {
		log.Fatal(err)
	}

	// A PFX carries the server's root. A claim without one needs it for an
	// endpoint that is not Amazon's.
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim, fleetprov.WithRootCAs(server.RootCAs()))
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := provisioner.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(credentials.ThingName)
	// Output: 12345
}

// The device's own key may live in hardware too. The credentials are then stored
// without it, and are given it again when they are read.
func ExampleWithPrivateKey() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	element := secureElement{key}

	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim, fleetprov.WithPrivateKey(element))
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := provisioner.Provision(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("key in a file:", credentials.PrivateKeyPEM() != nil)
	stored, err := credentials.MarshalPEM()
	if err != nil {
		log.Fatal(err)
	}

	// At the next boot:
	credentials, err = fleetprov.ParseCredentials(stored)
	if err != nil {
		log.Fatal(err)
	}
	if err := credentials.SetPrivateKey(element); err != nil {
		log.Fatal(err)
	}
	_, err = credentials.TLSConfig()
	fmt.Println("ready to connect:", err == nil)
	// Output:
	// key in a file: false
	// ready to connect: true
}
