package main

import (
	"context"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fleetprov/fleetprov"
)

// connect connects as the device, calls connected, and stays until ctx ends or the
// connection does. A device would do its work in connected's place.
func connect(ctx context.Context, c *fleetprov.Credentials, connected func()) error {
	config, err := c.TLSConfig()
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + c.Endpoint).
		SetClientID(c.ThingName).
		SetTLSConfig(config).
		SetProtocolVersion(4).
		SetConnectTimeout(30 * time.Second).
		SetAutoReconnect(false). // the Manager waits, and begins another session
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }))
	defer client.Disconnect(250)
	connecting := client.Connect()
	select {
	case <-connecting.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := connecting.Error(); err != nil {
		return fmt.Errorf("connecting as %q: %w", c.ThingName, err)
	}
	connected()
	select {
	case err := <-lost:
		return fmt.Errorf("the connection was lost: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
