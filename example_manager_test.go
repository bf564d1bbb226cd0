package fleetprov_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"time"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// deviceManager is the Manager of a device at server, which keeps its identity in a
// directory. In firmware, Claim is LoadPFX in a closure.
func deviceManager(server *fleetprovtest.Server, directory string) *fleetprov.Manager {
	return &fleetprov.Manager{
		Endpoint: server.Endpoint(),
		Template: "test-template",
		Claim: func(context.Context) (*fleetprov.Identity, error) {
			fmt.Println("the claim is opened")
			return fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
		},
		Store:         fleetprov.DirStore(directory),
		Parameters:    map[string]string{"SerialNumber": "12345"},
		RenewTemplate: "test-template",
		Options:       []fleetprov.Option{fleetprov.WithGeneratedKey()},
	}
}

// temporary makes a directory for an example.
func temporary() (directory string, remove func()) {
	directory, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	return directory, func() { os.RemoveAll(directory) }
}

// At its first boot a device has no credentials. At the second it needs no claim.
func ExampleManager() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	directory, remove := temporary()
	defer remove()

	for _, boot := range []string{"first", "second"} {
		ctx, powerOff := context.WithCancel(context.Background())
		err := deviceManager(server, directory).Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
			config, err := c.TLSConfig() // what an MQTT client connects with, as c.ThingName
			if err != nil {
				return err
			}
			fmt.Printf("%s boot: %s works at %s\n", boot, c.ThingName, config.ServerName)
			powerOff()
			<-ctx.Done()
			return ctx.Err()
		})
		fmt.Println("the device ends:", err)
	}
	// Output:
	// the claim is opened
	// first boot: 12345 works at localhost
	// the device ends: context canceled
	// second boot: 12345 works at localhost
	// the device ends: context canceled
}

// The certificate of ninety days is eighty days old when the device boots: a renewal has
// been due for ten to twenty days, and comes before the session. The power goes off in the
// middle of it; the next boot goes on from there. (The session would begin twenty seconds
// later, since connections under one client id are ten seconds apart.)
func ExampleManager_Run_renewalDue() {
	server := fleetprovtest.NewUnstartedServer()
	server.CertificateValidity = 90 * 24 * time.Hour
	server.Start()
	defer server.Close()
	directory, remove := temporary()
	defer remove()
	first, err := deviceManager(server, directory).Credentials(context.Background())
	if err != nil {
		log.Fatal(err)
	}

	const later = 80 * 24 * time.Hour
	server.Advance(later)
	clock := fleetprov.WithTLSConfig(&tls.Config{Time: func() time.Time { return time.Now().Add(later) }})
	ctx, powerOff := context.WithCancel(context.Background())
	second := deviceManager(server, directory)
	second.Options = append(second.Options, clock, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
		if p.Op == fleetprov.OpRegisterThing && p.Done {
			fmt.Println("the new certificate is registered:", p.Err == nil)
			powerOff()
		}
	}))
	err = second.Run(ctx, func(context.Context, *fleetprov.Credentials) error { return errors.New("too early") })
	fmt.Println("the second boot ends:", err)

	third := deviceManager(server, directory)
	third.Options = append(third.Options, clock)
	renewed, err := third.Renew(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another certificate:", renewed.CertificateID != first.CertificateID)
	fmt.Println("what may be deactivated:", renewed.PreviousCertificateID == first.CertificateID)
	fmt.Println("certificates that AWS made:", len(server.Certificates()))
	// Output:
	// the claim is opened
	// the new certificate is registered: true
	// the second boot ends: context canceled
	// another certificate: true
	// what may be deactivated: true
	// certificates that AWS made: 2
}

// A job, a signal or a command asks for a renewal. The context of the session ends; when
// the session has closed its connection, Run renews and calls it with the new credentials.
func ExampleManager_RequestRenewal() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	directory, remove := temporary()
	defer remove()
	ctx, powerOff := context.WithCancel(context.Background())
	manager := deviceManager(server, directory)
	err := manager.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
		manager.RequestRenewal()
		<-ctx.Done()
		fmt.Println("the session ends:", context.Cause(ctx))
		powerOff() // so that this example ends here, and not after half a minute
		return ctx.Err()
	})
	fmt.Println("the device ends:", err)
	// Output:
	// the claim is opened
	// the session ends: the device's certificate is to be renewed
	// the device ends: context canceled
}

// chip stands for a TPM, a secure element or a PKCS #11 token, which makes keys and keeps
// them. This one forgets them at the end of the program.
type chip map[string]crypto.Signer

func (c chip) Generate(_ context.Context, label string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c[label] = secureElement{key} // in the place of any that was there, in one step
	return c[label], nil
}

func (c chip) Key(_ context.Context, label string) (crypto.Signer, error) {
	key, ok := c[label]
	if !ok {
		return nil, fmt.Errorf("%s: %w", label, fs.ErrNotExist)
	}
	return key, nil
}

// The credentials' file says under which label their key is.
func ExampleKeyring() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	directory, remove := temporary()
	defer remove()
	keyring, ctx := chip{}, context.Background()
	manager := deviceManager(server, directory)
	manager.Options = []fleetprov.Option{fleetprov.WithKeyring(keyring)}
	if _, err := manager.Credentials(ctx); err != nil {
		log.Fatal(err)
	}

	// A Manager finds the key itself. Whoever reads the file without one has to ask.
	credentials, err := fleetprov.LoadCredentials(ctx, manager.Store)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("key in the file:", credentials.PrivateKeyPEM() != nil)
	fmt.Println("label:", credentials.KeyLabel)
	if err := credentials.UseKeyring(ctx, keyring); err != nil {
		log.Fatal(err)
	}
	_, err = credentials.TLSConfig()
	fmt.Println("ready to connect:", err == nil)
	// Output:
	// the claim is opened
	// key in the file: false
	// label: fleetprov-1
	// ready to connect: true
}
