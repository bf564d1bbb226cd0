package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// PlanRetire returns what is to be done so that certificates that no device needs any more
// are of no use: they are deactivated, and can be made active again until
// [Account.PlanDelete]. Their ids are in the credentials of a device that has renewed its
// certificate: [fleetprov.Credentials.PreviousCertificateID] and
// [fleetprov.Credentials.AbandonedCertificateIDs].
//
// It is an error if an id is not of a device of the fleet, or if a thing would be left
// without an active certificate: a device that reports what it is connected with would cut
// itself off.
//
// While a thing has two active certificates, either may be given: where devices report ids,
// [Account.PlanRetireOf] makes sure that a device speaks for itself only.
func (a *Account) PlanRetire(ctx context.Context, f Fleet, ids ...string) (*Plan, error) {
	return a.planRetire(ctx, f, "", ids)
}

// PlanRetireOf is PlanRetire for certificates of one thing: that of the device that has
// reported the ids. One that is not attached to the thing is an error.
func (a *Account) PlanRetireOf(ctx context.Context, f Fleet, thing string, ids ...string) (*Plan, error) {
	if thing == "" {
		return nil, errors.New("the name of the thing is empty")
	}
	return a.planRetire(ctx, f, thing, ids)
}

func (a *Account) planRetire(ctx context.Context, f Fleet, thing string, ids []string) (*Plan, error) {
	r, err := a.newRetirement(f, ids)
	if err != nil {
		return nil, err
	}
	r.thing = thing
	var problems []error
	for _, id := range r.ids {
		err := r.retire(ctx, id)
		var refused difference
		switch {
		case errors.As(err, &refused):
			problems = append(problems, err)
		case err != nil:
			return nil, explain(err)
		}
	}
	return r.plan, errors.Join(problems...)
}

// retirement is a plan for certificates, which is being made.
type retirement struct {
	*Account
	fleet Fleet
	ids   []string
	thing string // that the certificates must be attached to; "": any
	plan  *Plan
}

func (a *Account) newRetirement(f Fleet, ids []string) (*retirement, error) {
	f, err := f.complete()
	if err != nil {
		return nil, err
	}
	r := &retirement{Account: a, fleet: f, plan: &Plan{goOn: "run it again, and it goes on from there"}}
	for _, given := range ids {
		id, err := checkCertificateID(given)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(r.ids, id) {
			r.ids = append(r.ids, id)
		}
	}
	return r, nil
}

func (r *retirement) unneeded(id, why string) {
	r.plan.Unneeded = append(r.plan.Unneeded, "certificate "+id+" "+why)
}

func (r *retirement) retire(ctx context.Context, id string) error {
	status, err := r.status(ctx, id)
	switch {
	case err != nil:
		return err
	case status == "":
		r.unneeded(id, "is gone")
		return nil
	case status == types.CertificateStatusPendingActivation:
		r.unneeded(id, "was never registered, and AWS IoT deletes it")
		return nil
	case status != types.CertificateStatusActive:
		r.unneeded(id, "is not active")
		return nil
	}
	if err := r.checkOwner(ctx, id); err != nil {
		return err
	}
	things, err := r.thingsOf(ctx, id)
	if err != nil {
		return err
	}
	if r.thing != "" && !slices.Contains(things, r.thing) {
		return difference(fmt.Sprintf("the certificate %s is not attached to the thing %s", id, r.thing))
	}
	for _, thing := range things {
		if err := r.checkLast(ctx, id, thing); err != nil {
			return err
		}
	}
	r.plan.Steps = append(r.plan.Steps, r.deactivation(id, strings.Join(things, ", ")))
	return nil
}

// checkOwner fails unless a certificate has the policy of the fleet's devices.
func (r *retirement) checkOwner(ctx context.Context, id string) error {
	names, err := r.policiesOf(ctx, id)
	if err != nil {
		return err
	}
	if !slices.Contains(names, r.fleet.Names.DevicePolicy) {
		return difference(fmt.Sprintf("the certificate %s is not of a device of this fleet: the policy %s is not attached to it", id, r.fleet.Names.DevicePolicy))
	}
	return nil
}

// checkLast fails if a thing has no active certificate but those that are to go.
func (r *retirement) checkLast(ctx context.Context, id, thing string) error {
	all, err := r.certificatesOf(ctx, thing)
	if err != nil {
		return err
	}
	for _, other := range all {
		if slices.Contains(r.ids, other) {
			continue
		}
		status, err := r.status(ctx, other)
		if err != nil || status == types.CertificateStatusActive {
			return err
		}
	}
	return difference(fmt.Sprintf("without the certificate %s, the thing %s has no active one, and its device is cut off: if that is meant, use release", id, thing))
}

// PlanDelete returns what is to be done to delete inactive certificates of the fleet's
// devices for good: those with the ids, or all if there are none. One that is active is an
// error.
func (a *Account) PlanDelete(ctx context.Context, f Fleet, ids ...string) (*Plan, error) {
	r, err := a.newRetirement(f, ids)
	if err != nil {
		return nil, err
	}
	all := len(r.ids) == 0
	if all {
		if r.ids, err = a.certificatesWith(ctx, r.fleet.Names.DevicePolicy); err != nil {
			return nil, explain(err)
		}
	}
	for _, id := range r.ids {
		if err := r.delete(ctx, id, all); err != nil {
			return nil, explain(err)
		}
	}
	return r.plan, nil
}

func (r *retirement) delete(ctx context.Context, id string, all bool) error {
	status, err := r.status(ctx, id)
	switch {
	case err != nil:
		return err
	case status == "":
		r.unneeded(id, "is gone")
		return nil
	case status == types.CertificateStatusActive && all:
		return nil
	case status == types.CertificateStatusActive:
		return fmt.Errorf("the certificate %s is active: retire it first, and delete it once no device misses it", id)
	}
	if err := r.checkOwner(ctx, id); err != nil {
		return err
	}
	r.plan.Steps = append(r.plan.Steps, Step{"delete", "certificate " + id, func(ctx context.Context) error {
		return r.removeCertificate(ctx, id)
	}})
	return nil
}
