package operator

import (
	"fmt"
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

// again is the advice about what setup makes right.
const again = "run setup, with -replace if it says that something is different"
