package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fleetprov/fleetprov"
)

// device is a provisioned device at work. One session after the other has it.
type device struct {
	credentials *fleetprov.Credentials // of the last session
	booted      time.Time
	sent        int // messages
	stdout      io.Writer
}

// session connects as the device and publishes, in place of what a real device measures,
// until the connection is lost, or ctx ends for a renewal or with the program.
func (d *device) session(ctx context.Context, c *fleetprov.Credentials) error {
	fmt.Fprintf(d.stdout, "Thing name:     %q\nCertificate id: %s\n", c.ThingName, c.CertificateID)
	if old := c.PreviousCertificateID; old != "" {
		fmt.Fprintln(d.stdout, "The previous one may be deactivated: aws iot update-certificate --new-status INACTIVE --certificate-id", old)
	}
	d.credentials = c
	topic := "devices/" + c.ThingName + "/telemetry"
	hint := fmt.Sprintf("check that the certificate is active, that its policy allows iot:Connect on client/%s and iot:Publish on topic/%s, and that no other client uses this client id (AWS refuses in CONNACK or, mostly, by closing the connection)", c.ThingName, topic)
	if c.ThingName == "" {
		return errors.New("the template has no AWS::IoT::Thing, so that there is no name to connect under")
	}
	config, err := c.TLSConfig()
	if err != nil {
		return err
	}
	// paho could reconnect by itself. It would do so without jitter, and would take
	// CONNACK code 7, by which AWS IoT refuses a device, for success.
	lost := make(chan error, 1)
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + c.Endpoint).
		SetCustomOpenConnectionFn(open).
		SetClientID(c.ThingName).
		SetTLSConfig(config).
		SetProtocolVersion(4).
		SetWriteTimeout(30 * time.Second). // a call to paho may hang while the connection breaks
		SetAutoReconnect(false).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }))
	defer client.Disconnect(250)
	await := func(token mqtt.Token) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		select {
		case <-token.Done():
			return token.Error()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := await(client.Connect()); err != nil {
		return fmt.Errorf("connecting as %s: %w: %s", c.ThingName, err, hint)
	}
	for {
		message := fmt.Sprintf(`{"sequence":%d,"uptimeSeconds":%.1f}`, d.sent+1, time.Since(d.booted).Seconds())
		if err := await(client.Publish(topic, 1, false, message)); err != nil {
			return fmt.Errorf("publishing to %s: %w: %s", topic, err, hint)
		}
		d.sent++
		fmt.Fprintf(d.stdout, "%q %s\n", topic, message)
		select {
		case <-time.After(time.Second):
		case err := <-lost:
			return fmt.Errorf("the connection was lost: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
