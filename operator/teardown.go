package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// PlanTeardown returns what is to be done to remove what setup has made, and last the
// fleet's things with their certificates: templates and hooks go first, so that no device
// registers meanwhile. With keepDevices the things stay with all that they need to work.
// Files on this machine stay, but for the keys of claims whose making was cut off: those
// that lie beside the claim file lead to these claims. What has the fleet's names and is
// different from what setup makes is an error, unless Replace is set: it may be somebody
// else's.
func (a *Account) PlanTeardown(ctx context.Context, s Setup, keepDevices bool) (*Plan, error) {
	s.Fleet.NoClaim = false // it may have had one before
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
	r := &removal{p, s.Replace, nil}
	slices.Reverse(parts)
	for _, one := range parts {
		switch one := one.(type) {
		case permission, serialNumbers: // they go with the function
			continue
		case claim:
			for _, other := range one.unfinished() {
				p.Steps = append(p.Steps, Step{"remove", "claim of " + other.files.pending() + ", which is not complete", other.removePending})
			}
		case policy:
			if one.name != f.Names.ClaimPolicy {
				last = append(last, one)
				continue
			}
		}
		if err := r.add(ctx, one); err != nil {
			return nil, err
		}
	}
	if keepDevices {
		for _, one := range last {
			p.Present = append(p.Present, one.String()+", for the devices")
		}
	} else if err := a.planDevices(ctx, r, f, last); err != nil {
		return nil, err
	}
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return p, nil
}

// removal is a plan to remove parts, which is being made.
type removal struct {
	plan     *Plan
	replace  bool // what is different goes, too
	problems []error
}

func (r *removal) add(ctx context.Context, one part) error {
	remove := func(what string) { r.plan.Steps = append(r.plan.Steps, Step{"remove", what, one.remove}) }
	look := one.look
	if c, ok := one.(claim); ok {
		look = c.remains
	}
	err := look(ctx)
	var other difference
	switch {
	case errors.Is(err, errAbsent):
	case err == nil:
		remove(one.String())
	case !errors.As(err, &other):
		return explain(fmt.Errorf("looking for the %s: %w", one, err))
	case r.replace:
		remove(one.String() + ", which is different from what setup makes: " + other.Error())
	default:
		r.problems = append(r.problems, fmt.Errorf("the %s is different from what setup makes, and may be somebody else's (%s): give the flags that setup was given, or -replace to remove it all the same", one, other))
	}
	return nil
}

// planDevices adds the fleet's things and certificates, and the policies.
func (a *Account) planDevices(ctx context.Context, r *removal, f Fleet, policies []part) error {
	ids, err := a.certificatesWith(ctx, f.Names.DevicePolicy)
	if err != nil {
		return explain(err)
	}
	things, err := a.thingsOfFleet(ctx, f, ids)
	if err != nil {
		return explain(err)
	}
	p := r.plan
	for _, id := range ids {
		p.Steps = append(p.Steps, Step{"remove", "certificate " + id, func(ctx context.Context) error { return a.removeCertificate(ctx, id) }})
	}
	for _, thing := range things {
		p.Steps = append(p.Steps, Step{"remove", "thing " + thing, func(ctx context.Context) error { return a.removeThing(ctx, thing) }})
	}
	for _, one := range policies {
		if err := r.add(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// thingsOfFleet returns the things that have one of the certificates, and those that the
// fleet's template has made whose certificates may be gone.
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
			name := aws.ToString(thing.ThingName)
			if found[name] || !f.made(thing) {
				continue
			}
			other, err := a.hasOther(ctx, name, certificates)
			if err != nil {
				return nil, err
			}
			if !other {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// made reports whether a thing is one that the fleet's template makes: by its name, and by
// its attributes, which a device has no say in.
func (f Fleet) made(thing types.ThingAttribute) bool {
	serialNumber := thing.Attributes["serialNumber"]
	return serialNumber != "" && aws.ToString(thing.ThingName) == f.thingOf(serialNumber) && thing.Attributes[fleetAttribute] == f.attribute()
}

// hasOther reports whether a thing has a certificate besides these.
func (a *Account) hasOther(ctx context.Context, thing string, certificates []string) (bool, error) {
	ids, err := a.certificatesOf(ctx, thing)
	other := slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(certificates, id) })
	return other, presentOr(err)
}

// removeThing waits until the certificates that were just detached are.
func (a *Account) removeThing(ctx context.Context, thing string) error {
	return a.eventually(ctx, func() error {
		_, err := a.iot.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: &thing})
		return presentOr(err)
	}, append(slices.Clone(conflicts), invalid)...)
}
