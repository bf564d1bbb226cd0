package operator

import (
	"context"
	"errors"
	"fmt"
)

// Step is one thing that a [Plan] does.
type Step struct {
	Verb string // "create", "replace", "remove"
	What string // such as "role fleet-hook-role"

	run func(context.Context) error
}

func (s Step) String() string { return s.Verb + " " + s.What }

// Plan is what is to be done in an account, in order. Nothing of it has been done yet.
type Plan struct {
	Steps    []Step
	Present  []string // what is there already, and stays as it is
	Unneeded []string // what nothing has to be done about, and why

	goOn string // what to do when it was cut off
}

// Run carries out the plan. It calls progress, unless that is nil, after each step that is
// done. An error names the step at which it stopped; what was done before stays, and a new
// plan goes on from there.
func (p *Plan) Run(ctx context.Context, progress func(n int, done Step)) error {
	for i, step := range p.Steps {
		if err := step.run(ctx); err != nil {
			return explain(fmt.Errorf("step %d of %d, %s: %w; %s", i+1, len(p.Steps), step, err, p.goOn))
		}
		if progress != nil {
			progress(i+1, step)
		}
	}
	return nil
}

// planFor looks at all parts before anything is done, and says what is in the way of any of
// them.
func planFor(ctx context.Context, parts []part, replace bool) (*Plan, error) {
	p := &Plan{goOn: "what was made before stays: run setup again, and it goes on from there"}
	var problems []error
	for _, one := range parts {
		err := one.look(ctx)
		var other difference
		var about remark
		switch {
		case err == nil:
			p.Present = append(p.Present, one.String())
		case errors.As(err, &about):
			p.Present = append(p.Present, one.String()+": "+about.Error())
		case errors.Is(err, errAbsent):
			p.Steps = append(p.Steps, Step{"create", one.String(), createOf(one)})
		case !errors.As(err, &other):
			return nil, explain(fmt.Errorf("looking for the %s: %w", one, err))
		case replace:
			p.Steps = append(p.Steps, Step{"replace", one.String() + ", since " + other.Error(), one.(replaceable).replace})
		default:
			problems = append(problems, fmt.Errorf("there is a %s already, and %s: -replace makes it this fleet's, -name chooses another name", one, other))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return p, nil
}

// createOf is content if the part is there by now: an answer may have been lost, and the
// request repeated.
func createOf(one part) func(context.Context) error {
	return func(ctx context.Context) error {
		err := one.create(ctx)
		if exists(err) && one.look(ctx) == nil {
			return nil
		}
		return err
	}
}
