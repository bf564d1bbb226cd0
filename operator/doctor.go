package operator

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Finding is something that [Account.Examine] has found.
type Finding struct {
	What   string // what is wrong
	Advice string // what to do about it

	// Warning says that devices can be provisioned all the same.
	Warning bool
}

func (f Finding) String() string { return f.What + ": " + f.Advice }

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
// them. It only reads. An error says that it could not look.
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
	for _, look := range []func(context.Context) error{
		func(ctx context.Context) error { return d.endpoint(ctx, e.Endpoint) },
		d.provisioning,
		func(ctx context.Context) error { return d.serialNumber(ctx, e.Parameters[SerialNumber]) },
		d.renewal,
		func(ctx context.Context) error { return d.claims(ctx, e.Claim) },
	} {
		if err := look(ctx); err != nil {
			return nil, explain(err)
		}
	}
	return d.findings, nil
}

// doctor is an examination under way. It collects findings.
type doctor struct {
	*Account
	fleet    Fleet
	sent     map[string]string // parameters of a device
	thing    string            // its thing; "" if the template does not get that far
	policies []string          // names of those that the template gives to a device
	inline   []string          // documents of those that are in the template itself
	findings []Finding
}

func (d *doctor) find(advice, what string, arguments ...any) {
	d.add(Finding{What: fmt.Sprintf(what, arguments...), Advice: advice})
}

func (d *doctor) warn(advice, what string, arguments ...any) {
	d.add(Finding{What: fmt.Sprintf(what, arguments...), Advice: advice, Warning: true})
}

// add does not repeat what several claims have in common.
func (d *doctor) add(f Finding) {
	if !slices.Contains(d.findings, f) {
		d.findings = append(d.findings, f)
	}
}

// sentBy returns the parameters of a device of the fleet.
func sentBy(f Fleet, given map[string]string) map[string]string {
	sent := map[string]string{SerialNumber: "0001"}
	for name, standard := range f.Parameters {
		if standard == nil {
			sent[name] = "1"
		}
	}
	maps.Copy(sent, given)
	return sent
}

// again is the advice about what setup makes right.
const again = "run setup, with -replace if it says that something is different"
