package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/fleetprov/fleetprov/operator"
)

// present prints what stays as it is.
func present(w io.Writer, plan *operator.Plan) {
	for _, what := range plan.Present {
		fmt.Fprintf(w, "  is there: %s\n", what)
	}
}

// announce prints what is about to be done.
func announce(w io.Writer, plan *operator.Plan) {
	for _, step := range plan.Steps {
		fmt.Fprintf(w, "  to do:    %s\n", step)
	}
}

// carryOut runs a plan and prints its progress.
func carryOut(ctx context.Context, w io.Writer, plan *operator.Plan) error {
	return plan.Run(ctx, func(n int, done operator.Step) {
		fmt.Fprintf(w, "%3d/%d done: %s\n", n, len(plan.Steps), done)
	})
}

// ask asks a question, and reports whether the answer is the one that is wanted.
func ask(t terminal, question, wanted string) bool {
	fmt.Fprintf(t.out, "%s Type %q to go on: ", question, wanted)
	var answer []byte
	for one := make([]byte, 1); len(answer) < 100; {
		if n, err := t.in.Read(one); n == 0 || err != nil || one[0] == '\n' {
			break
		}
		answer = append(answer, one[0])
	}
	fmt.Fprintln(t.out)
	return strings.TrimSpace(string(answer)) == wanted
}
