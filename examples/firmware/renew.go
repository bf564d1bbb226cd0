package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetprov/fleetprov"
)

// renewalTime bounds a renewal, during which the device is not connected. If it takes
// longer, the next renewal goes on where it stopped.
const renewalTime = 5 * time.Minute

// renew replaces the device's certificate, while the device is not connected. A
// renewal that fails leaves it with the credentials it has.
func (d *device) renew(ctx context.Context) {
	fmt.Fprintf(d.stdout, "\nRenewing:\n")
	bounded, cancel := context.WithTimeout(ctx, renewalTime)
	defer cancel()
	renewed, err := d.replace(bounded)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		complain(d.stderr, fmt.Errorf("renewing: %w", err))
	default:
		fmt.Fprintf(d.stdout, "\nCertificate id: %s\nThe previous one may be deactivated: aws iot update-certificate --new-status INACTIVE --certificate-id %s\n\n",
			renewed.CertificateID, renewed.PreviousCertificateID)
	}
	// What is in the store works, be it the old or the new.
	if stored, err := fleetprov.LoadCredentials(ctx, d.store); err == nil {
		d.credentials = stored
	}
}

// replace renews with the identity that the device has, so that no claim is needed.
func (d *device) replace(ctx context.Context) (*fleetprov.Credentials, error) {
	identity, err := d.credentials.Identity()
	if err != nil {
		return nil, err
	}
	renewer, err := fleetprov.New(d.credentials.Endpoint, d.template, identity, d.options...)
	if err != nil {
		return nil, err
	}
	return renewer.Renew(ctx, d.store, map[string]string{"ThingName": d.credentials.ThingName})
}
