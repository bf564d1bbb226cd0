package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fleetprov/fleetprov"
)

const (
	interval = time.Second      // between messages
	patience = 30 * time.Second // for an answer

	// settled is how long a connection must last before earlier failures are
	// forgotten. Two devices with one thing name end each other's connection, and
	// would do so every other second if each connection reset the count.
	settled = time.Minute
)

// device is a provisioned device at work.
type device struct {
	store       fleetprov.Store
	credentials *fleetprov.Credentials
	template    string // to renew against
	options     []fleetprov.Option

	booted time.Time
	sent   int // messages

	stdout, stderr io.Writer
}

// errRenewal ends a session because the certificate is to be renewed.
var errRenewal = errors.New("a renewal was asked for")

// run keeps a session up until ctx ends.
func (d *device) run(ctx context.Context, renewals <-chan os.Signal) {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := d.session(ctx, renewals)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > settled {
			failures = 0
		}
		wait := pause(failures)
		if errors.Is(err, errRenewal) {
			d.renew(ctx)
		} else {
			complain(d.stderr, fmt.Errorf("%w; connecting again in %v", err, wait.Round(100*time.Millisecond)))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// pause is how long to wait before connecting again: 1 to 2 seconds at first, 1 to
// 2 minutes in the end. AWS IoT lets a client id connect once a second, and devices
// that lost the network together must not all come back together.
func pause(failures int) time.Duration {
	shortest := min(time.Second<<min(failures, 6), time.Minute)
	return shortest + rand.N(shortest)
}

// session connects as the device and publishes until the connection is lost, a
// renewal is asked for, or ctx ends.
func (d *device) session(ctx context.Context, renewals <-chan os.Signal) error {
	config, err := d.credentials.TLSConfig()
	if err != nil {
		return err
	}
	// paho could reconnect by itself. It would do so without jitter, and would
	// take CONNACK code 7, by which AWS IoT refuses a device, for success.
	lost := make(chan error, 1)
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + d.credentials.Endpoint).
		SetClientID(d.credentials.ThingName).
		SetTLSConfig(config).
		SetProtocolVersion(4).
		SetConnectTimeout(patience).
		SetAutoReconnect(false).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }))
	defer client.Disconnect(250)

	// A call to paho may hang while the connection breaks.
	await := func(ask func() mqtt.Token) error {
		done := make(chan error, 1)
		go func() {
			token := ask()
			if !token.WaitTimeout(patience) {
				done <- os.ErrDeadlineExceeded
				return
			}
			done <- token.Error()
		}()
		select {
		case err := <-done:
			return err
		case err := <-lost:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := await(client.Connect); err != nil {
		return fmt.Errorf("connecting as %s: %w: check that the certificate is active, that its policy allows iot:Connect on client/%s, and that no other client uses this client id",
			d.credentials.ThingName, err, d.credentials.ThingName)
	}
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for first := true; ; first = false {
		topic, message := "devices/"+d.credentials.ThingName+"/telemetry", d.telemetry()
		err := await(func() mqtt.Token { return client.Publish(topic, 1, false, message) })
		if err != nil {
			if first {
				return fmt.Errorf("publishing to %s: %w: check that the certificate is active, that its policy allows iot:Connect on client/%s and iot:Publish on topic/%s, and that no other client uses this client id",
					topic, err, d.credentials.ThingName, topic)
			}
			return fmt.Errorf("publishing to %s: %w", topic, err)
		}
		d.sent++
		fmt.Fprintln(d.stdout, topic, message)
		select {
		case <-ticks.C:
		case <-renewals:
			return errRenewal
		case err := <-lost:
			return fmt.Errorf("the connection was lost: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// telemetry stands in for what a real device would measure.
func (d *device) telemetry() string {
	return fmt.Sprintf(`{"sequence":%d,"uptimeSeconds":%.1f}`, d.sent+1, time.Since(d.booted).Seconds())
}
