package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// SerialNumbers returns those that may register: the hook's list, sorted.
func (a *Account) SerialNumbers(ctx context.Context, f Fleet) ([]string, error) {
	f, err := f.complete()
	if err != nil {
		return nil, err
	}
	list, err := a.serialNumbers(ctx, f.Names.ProvisioningHook)
	return list, explain(err)
}

func (a *Account) serialNumbers(ctx context.Context, function string) ([]string, error) {
	deployed, err := a.hookArchive(ctx, function)
	if err != nil {
		return nil, err
	}
	return listIn(deployed), nil
}

// hookArchive returns the code of the function that has the list.
func (a *Account) hookArchive(ctx context.Context, function string) (archive, error) {
	found, err := a.function(ctx, function)
	if isAbsent(err) {
		return nil, fmt.Errorf("there is no function %s in %s, which has the list: run setup first, or check the fleet's name: %w", function, a.region, err)
	}
	if err != nil {
		return nil, err
	}
	return a.fetch(ctx, aws.ToString(found.Code.Location))
}

func listIn(a archive) []string {
	list := strings.Fields(a[listFile])
	slices.Sort(list)
	return slices.Compact(list)
}

// AddSerialNumbers lets devices with these serial numbers register. It returns those that
// were not on the list. It takes effect within seconds.
func (a *Account) AddSerialNumbers(ctx context.Context, f Fleet, serialNumbers ...string) (added []string, err error) {
	f, err = f.complete()
	if err != nil {
		return nil, err
	}
	for _, s := range serialNumbers {
		if err := f.checkSerialNumber(s); err != nil {
			return nil, err
		}
	}
	return a.changeList(ctx, f, func(list []string) (left, changed []string) {
		for _, s := range serialNumbers {
			if !slices.Contains(list, s) {
				list, changed = append(list, s), append(changed, s)
			}
		}
		return list, changed
	})
}

// RemoveSerialNumbers refuses devices with these serial numbers from now on. It returns
// those that were on the list. Devices that have registered keep their certificates.
func (a *Account) RemoveSerialNumbers(ctx context.Context, f Fleet, serialNumbers ...string) (removed []string, err error) {
	f, err = f.complete()
	if err != nil {
		return nil, err
	}
	return a.changeList(ctx, f, func(list []string) (left, changed []string) {
		for _, s := range list {
			if slices.Contains(serialNumbers, s) {
				changed = append(changed, s)
			} else {
				left = append(left, s)
			}
		}
		return left, changed
	})
}

// changeList leaves the function alone if nothing changes.
func (a *Account) changeList(ctx context.Context, f Fleet, edit func(list []string) (left, changed []string)) ([]string, error) {
	function := f.Names.ProvisioningHook
	list, err := a.serialNumbers(ctx, function)
	if err != nil {
		return nil, explain(err)
	}
	_, changed := edit(list)
	if len(changed) == 0 {
		return nil, nil
	}
	err = a.changeCode(ctx, function, func(deployed archive) archive {
		left, _ := edit(listIn(deployed))
		slices.Sort(left)
		deployed[listFile] = strings.Join(left, "\n") + "\n"
		return deployed
	})
	if err != nil {
		return nil, explain(err)
	}
	return changed, nil
}

// serialNumbers are on the list of a hook.
type serialNumbers struct {
	*Account
	fleet  Fleet
	wanted []string
}

func (s serialNumbers) String() string {
	count := "1 serial number"
	if len(s.wanted) != 1 {
		count = fmt.Sprintf("%d serial numbers", len(s.wanted))
	}
	return count + " on the list of the function " + s.fleet.Names.ProvisioningHook
}

func (s serialNumbers) look(ctx context.Context) error {
	list, err := s.serialNumbers(ctx, s.fleet.Names.ProvisioningHook)
	if err != nil {
		return absentIf(err)
	}
	for _, wanted := range s.wanted {
		if !slices.Contains(list, wanted) {
			return errAbsent
		}
	}
	return nil
}

func (s serialNumbers) create(ctx context.Context) error {
	_, err := s.AddSerialNumbers(ctx, s.fleet, s.wanted...)
	return err
}

// remove does nothing: the list goes with the function.
func (s serialNumbers) remove(context.Context) error { return nil }
