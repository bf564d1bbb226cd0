package operator

import (
	"context"
	"maps"
)

// Examination is what [Account.Examine] looks at.
type Examination struct {
	Fleet Fleet

	// Claim is the certificate id of the claim in question. Default: all claims that have the
	// fleet's claim policy.
	Claim string

	// Endpoint is the address that the devices are configured with. Default: it is not
	// examined.
	Endpoint string

	// Parameters are what a device sends besides those of the fleet that have no default.
	// Default: a serial number that the hook is not asked about.
	Parameters map[string]string
}

// Examine looks for what would keep a device from provisioning itself: at the template, its
// role and hook, at claims and what they may do with either flow, at the policies of a device,
// and at what it renews its certificate with. Policies are judged as fleetprovtest judges
// them. It only reads. What it could not look at, such as for want of a right, is among the
// findings and makes an error: the findings are then those about the rest.
func (a *Account) Examine(ctx context.Context, e Examination) ([]Finding, error) {
	f, err := e.Fleet.complete()
	if err != nil {
		return nil, err
	}
	if e.Claim != "" {
		if e.Claim, err = checkCertificateID(e.Claim); err != nil {
			return nil, err
		}
	}
	d := &doctor{Account: a, fleet: f, sent: sentBy(f, e.Parameters)}
	serialNumber := d.checkSerialNumber(e.Parameters[SerialNumber])
	for _, look := range []func(context.Context) error{
		func(ctx context.Context) error { return d.endpoint(ctx, e.Endpoint) },
		d.provisioning,
		func(ctx context.Context) error { return d.serialNumber(ctx, serialNumber) },
		d.renewal,
		func(ctx context.Context) error { return d.claims(ctx, e.Claim) },
	} {
		if err := look(ctx); err != nil {
			return d.findings, explain(err)
		}
	}
	if len(d.unseen) > 0 {
		return d.findings, d.unseen
	}
	return d.findings, nil
}

// checkSerialNumber returns a serial number that can be examined further: "" in place of one
// that no device can have.
func (d *doctor) checkSerialNumber(given string) string {
	if given == "" {
		return ""
	}
	if err := d.fleet.checkSerialNumber(given); err != nil {
		d.find("give the device another", "%v", err)
		d.sent[SerialNumber] = anySerialNumber
		return ""
	}
	return given
}

// sentBy returns the parameters of a device of the fleet.
func sentBy(f Fleet, given map[string]string) map[string]string {
	sent := map[string]string{SerialNumber: anySerialNumber}
	for name, standard := range f.Parameters {
		if standard == nil {
			sent[name] = "1"
		}
	}
	maps.Copy(sent, given)
	return sent
}
