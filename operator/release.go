package operator

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/iot/types"
)

// PlanRelease returns what is to be done so that devices with these serial numbers can
// register anew: the certificates of their things are deactivated, so that whatever has one
// is cut off.
func (a *Account) PlanRelease(ctx context.Context, f Fleet, serialNumbers ...string) (*Plan, error) {
	f, err := f.complete()
	if err != nil {
		return nil, err
	}
	p := &Plan{goOn: "run it again, and it goes on from there"}
	for _, serialNumber := range serialNumbers {
		if err := f.checkSerialNumber(serialNumber); err != nil {
			return nil, err
		}
		if err := a.planRelease(ctx, p, f.thingOf(serialNumber)); err != nil {
			return nil, explain(err)
		}
	}
	return p, nil
}

func (a *Account) planRelease(ctx context.Context, p *Plan, thing string) error {
	ids, err := a.certificatesOf(ctx, thing)
	if isAbsent(err) {
		p.Unneeded = append(p.Unneeded, fmt.Sprintf("there is no thing %s: its device can register", thing))
		return nil
	}
	if err != nil {
		return err
	}
	for _, id := range ids {
		status, err := a.status(ctx, id)
		if err != nil {
			return err
		}
		if status == types.CertificateStatusActive {
			p.Steps = append(p.Steps, a.deactivation(id, thing))
		}
	}
	return nil
}

func (a *Account) deactivation(id, thing string) Step {
	what := "certificate " + id
	if thing != "" {
		what += " of thing " + thing
	}
	return Step{"deactivate", what, func(ctx context.Context) error {
		return presentOr(a.setStatus(ctx, id, types.CertificateStatusInactive))
	}}
}
