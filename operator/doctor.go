package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Finding is something that [Account.Examine] has found.
type Finding struct {
	What   string // what is wrong
	Advice string // what to do about it

	// Warning says that devices can be provisioned all the same.
	Warning bool
}

func (f Finding) String() string { return f.What + ": " + f.Advice }

// errIncomplete says what could not be looked at, which the findings name one by one.
type errIncomplete []error

func (e errIncomplete) Error() string {
	if len(e) == 1 {
		return "one thing could not be looked at: the findings are not complete"
	}
	return fmt.Sprintf("%d things could not be looked at: the findings are not complete", len(e))
}

func (e errIncomplete) Unwrap() []error { return e }

// doctor is an examination under way. It collects findings.
type doctor struct {
	*Account
	fleet    Fleet
	sent     map[string]string // parameters of a device
	thing    string            // its thing; "" if the template does not get that far
	policies []string          // names of those that the template gives to a device
	inline   []string          // documents of those that are in the template itself
	findings []Finding
	unseen   errIncomplete
}

func (d *doctor) find(advice, what string, arguments ...any) {
	d.add(Finding{What: fmt.Sprintf(what, arguments...), Advice: advice})
}

func (d *doctor) warn(advice, what string, arguments ...any) {
	d.add(Finding{What: fmt.Sprintf(what, arguments...), Advice: advice, Warning: true})
}

// missed notes that something could not be looked at. It returns an error only if nothing
// else can be either.
func (d *doctor) missed(err error, what string, arguments ...any) error {
	var unreached *smithyhttp.RequestSendError
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &unreached) {
		return err
	}
	err = explain(err)
	d.unseen = append(d.unseen, err)
	d.add(Finding{What: fmt.Sprintf(what, arguments...) + " could not be looked at", Advice: err.Error(), Warning: true})
	return nil
}

// add does not repeat what several claims have in common.
func (d *doctor) add(f Finding) {
	if !slices.Contains(d.findings, f) {
		d.findings = append(d.findings, f)
	}
}

// anySerialNumber stands for that of a device when no particular one is meant.
const anySerialNumber = "0001"

// again is the advice about what setup makes right.
const again = "run setup, with -replace if it says that something is different"
