package fleetprov_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	mqtt "github.com/eclipse/paho.mqtt.golang"

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

// The device connects with the MQTT client of its choice, under its thing name.
func ExampleCredentials_TLSConfig() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	credentials := exampleCredentials(server)

	config, err := credentials.TLSConfig()
	if err != nil {
		log.Fatal(err)
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + credentials.Endpoint).
		SetClientID(credentials.ThingName).
		SetTLSConfig(config))
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	defer client.Disconnect(0)
	token := client.Publish("devices/"+credentials.ThingName+"/telemetry", 1, false, `{"temperature":21}`)
	if token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	fmt.Println("published as", credentials.ThingName)
	// Output: published as 12345
}

// One file has all in it. Programs that read a certificate and a key as PEM files
// take it for both.
func ExampleCredentials_MarshalPEM() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	data, err := exampleCredentials(server).MarshalPEM()
	if err != nil {
		log.Fatal(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		fmt.Println(block.Type)
	}

	credentials, err := fleetprov.ParseCredentials(data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(credentials.ThingName)
	// Output:
	// FLEETPROV METADATA
	// CERTIFICATE
	// PRIVATE KEY
	// 12345
}

// exampleCredentials are those of a device provisioned at server.
func exampleCredentials(server *fleetprovtest.Server) *fleetprov.Credentials {
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := provisioner.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}
	return credentials
}

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

// Every failure of Provision says which step failed; what AWS answered is behind
// it, word for word.
func ExampleRejectedError() {
	server := fleetprovtest.NewUnstartedServer()
	server.Hook = func(r fleetprovtest.HookRequest) fleetprovtest.HookResponse {
		return fleetprovtest.HookResponse{AllowProvisioning: r.Parameters["SerialNumber"] == "12345"}
	}
	server.Start()
	defer server.Close()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	if err != nil {
		log.Fatal(err)
	}

	_, err = provisioner.Provision(context.Background(), map[string]string{"SerialNumber": "99999"})
	var failure *fleetprov.Error
	if errors.As(err, &failure) {
		fmt.Println("step:", failure.Op)
	}
	var rejected *fleetprov.RejectedError
	if errors.As(err, &rejected) {
		fmt.Println("status:", rejected.StatusCode)
		fmt.Println("code:", rejected.Code)
	}
	fmt.Println("retryable:", fleetprov.Retryable(err))
	// Output:
	// step: RegisterThing
	// status: 403
	// code: AccessDenied
	// retryable: false
}
