// Command firmware5 is examples/firmware with MQTT 5, by autopaho of
// github.com/eclipse/paho.golang: it has less around it, to show what of a program is
// the client's and what the Manager's.
//
//	go run ./examples/firmware5
//
// runs against an endpoint embedded in the program. With AWS_HOSTNAME it runs against
// AWS, and provisions the device with the claim of examples/secrets, whose password is
// in IDENTITY_PASSWORD, if there are no credentials in the directory device-state.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// connect opens a connection of the device: autopaho does, but in tests.
var connect func(context.Context, autopaho.ClientConfig, *url.URL) (net.Conn, error)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	manager, end, err := newManager(os.Getenv("AWS_HOSTNAME"), os.Getenv("IDENTITY_PASSWORD"))
	if err != nil {
		log.Fatal(err)
	}
	manager.Options = []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithLogger(slog.Default()), fleetprov.WithPipelining()}
	err = run(ctx, manager, os.Stdout)
	end()
	if ctx.Err() == nil {
		log.Fatal(err)
	}
}

// newManager returns the Manager of a device at an endpoint, which is embedded if it has
// no name. The caller calls end.
func newManager(endpoint, password string) (_ *fleetprov.Manager, end func(), err error) {
	m := &fleetprov.Manager{
		Endpoint:      endpoint,
		Template:      "fleet-template",
		Store:         fleetprov.DirStore("device-state"),
		Parameters:    map[string]string{"SerialNumber": "0001"},
		RenewTemplate: "fleet-rotation-template",
		Claim: func(context.Context) (*fleetprov.Identity, error) {
			return fleetprov.LoadPFX("examples/secrets/claim_identity.pfx", password)
		},
	}
	if endpoint != "" {
		return m, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "fleetprov-")
	if err != nil {
		return nil, nil, err
	}
	server := fleetprovtest.NewUnstartedServer()
	server.Template = m.Template
	server.Start()
	m.Endpoint, m.RenewTemplate, m.Store = server.Endpoint(), m.Template, fleetprov.DirStore(dir)
	m.Claim = func(context.Context) (*fleetprov.Identity, error) {
		return fleetprov.NewIdentity(server.ClaimCertificate(), server.RootCertificate())
	}
	return m, func() {
		server.Close()
		os.RemoveAll(dir)
	}, nil
}

// run runs a device until ctx ends.
func run(ctx context.Context, manager *fleetprov.Manager, stdout io.Writer) error {
	return manager.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
		return session(ctx, c, stdout)
	})
}

// session connects as the device, and publishes every second until the connection is
// lost or ctx ends. autopaho could connect again by itself. Here the Manager does, which
// knows when AWS IoT lets a client id connect again, and whether there is a new
// certificate.
func session(ctx context.Context, c *fleetprov.Credentials, stdout io.Writer) error {
	if c.ThingName == "" {
		return errors.New("the template has no AWS::IoT::Thing, so that there is no name to connect under")
	}
	config, err := c.TLSConfig()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connection, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{{Scheme: "tls", Host: c.Endpoint}},
		TlsCfg:                        config,
		AttemptConnection:             connect,
		KeepAlive:                     60,
		CleanStartOnInitialConnection: true,
		OnConnectError:                func(err error) { cancel(fmt.Errorf("connecting as %s: %w", c.ThingName, err)) },
		OnConnectionDown: func() bool {
			cancel(errors.New("the connection was lost"))
			return false
		},
		ClientConfig: paho.ClientConfig{ClientID: c.ThingName},
	})
	if err != nil {
		return err
	}
	defer func() {
		cancel(nil)
		<-connection.Done()
	}()
	if err := connection.AwaitConnection(ctx); err != nil {
		return context.Cause(ctx)
	}
	topic := "devices/" + c.ThingName + "/telemetry"
	for began := time.Now(); ; {
		message := fmt.Sprintf(`{"connectedSeconds":%.0f}`, time.Since(began).Seconds())
		if _, err := connection.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(message)}); err != nil {
			return fmt.Errorf("publishing to %s: %w", topic, err)
		}
		fmt.Fprintf(stdout, "%q %s\n", topic, message)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
