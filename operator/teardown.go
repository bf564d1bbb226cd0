package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
)

// PlanTeardown returns what is to be done to remove what setup has made, and last the
// fleet's things with their certificates: templates and hooks go first, so that no device
// registers meanwhile. With keepDevices the things stay with all that they need to work.
// Files on this machine stay.
func (a *Account) PlanTeardown(ctx context.Context, s Setup, keepDevices bool) (*Plan, error) {
	parts, err := a.parts(s)
	if err != nil {
		return nil, err
	}
	f, err := s.Fleet.complete()
	if err != nil {
		return nil, err
	}
	p := &Plan{goOn: "what was removed before is gone: run teardown again, and it goes on from there"}
	var last []part // which devices need
	slices.Reverse(parts)
	for _, one := range parts {
		switch one := one.(type) {
		case permission, serialNumbers: // they go with the function
			continue
		case policy:
			if one.name != f.Names.ClaimPolicy {
				last = append(last, one)
				continue
			}
		}
		if err := planRemoval(ctx, p, one); err != nil {
			return nil, err
		}
	}
	if keepDevices {
		for _, one := range last {
			p.Present = append(p.Present, one.String()+", for the devices")
		}
		return p, nil
	}
	return p, a.planDevices(ctx, p, f, last)
}

func planRemoval(ctx context.Context, p *Plan, one part) error {
	look := one.look
	if c, ok := one.(claim); ok {
		look = c.remains
	}
	err := look(ctx)
	var other difference
	switch {
	case errors.Is(err, errAbsent):
	case err == nil, errors.As(err, &other):
		p.Steps = append(p.Steps, Step{"remove", one.String(), one.remove})
	default:
		return explain(fmt.Errorf("looking for the %s: %w", one, err))
	}
	return nil
}

// planDevices adds the fleet's things and certificates, and the policies.
func (a *Account) planDevices(ctx context.Context, p *Plan, f Fleet, policies []part) error {
	ids, err := a.certificatesWith(ctx, f.Names.DevicePolicy)
	if err != nil {
		return explain(err)
	}
	things, err := a.thingsOfFleet(ctx, f, ids)
	if err != nil {
		return explain(err)
	}
	for _, id := range ids {
		p.Steps = append(p.Steps, Step{"remove", "certificate " + id, func(ctx context.Context) error { return a.removeCertificate(ctx, id) }})
	}
	for _, thing := range things {
		p.Steps = append(p.Steps, Step{"remove", "thing " + thing, func(ctx context.Context) error { return a.removeThing(ctx, thing) }})
	}
	for _, one := range policies {
		if err := planRemoval(ctx, p, one); err != nil {
			return err
		}
	}
	return nil
}

// thingsOfFleet returns the things that have one of the certificates, and those that the
// template has named after the serial number in their attributes: their certificates may be
// gone.
func (a *Account) thingsOfFleet(ctx context.Context, f Fleet, certificates []string) ([]string, error) {
	found := make(map[string]bool)
	for _, id := range certificates {
		things, err := a.thingsOf(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, thing := range things {
			found[thing] = true
		}
	}
	pages := iot.NewListThingsPaginator(a.iot, &iot.ListThingsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, thing := range page.Things {
			name, serialNumber := aws.ToString(thing.ThingName), thing.Attributes["serialNumber"]
			if serialNumber != "" && name == f.thingOf(serialNumber) {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// removeThing waits until the certificates that were just detached are.
func (a *Account) removeThing(ctx context.Context, thing string) error {
	return a.eventually(ctx, func() error {
		_, err := a.iot.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: &thing})
		return presentOr(err)
	}, append(slices.Clone(conflicts), invalid)...)
}
