package main

import (
	"context"
	"errors"
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
	for _, what := range plan.Unneeded {
		fmt.Fprintf(w, "  no need:  %s\n", what)
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

// ask asks a question, and fails unless the answer is the one that is wanted.
func ask(ctx context.Context, t terminal, question, wanted string) error {
	fmt.Fprintf(t.out, "%s Type %q to go on: ", question, wanted)
	answer, err := reading(ctx, func() (string, error) { return readLine(t.in), nil })
	fmt.Fprintln(t.out)
	if err == nil && answer != wanted {
		err = fmt.Errorf("the answer is not %q", wanted)
	}
	return err
}

// readLine reads no further than the line, since what follows may be for somebody else.
func readLine(in io.Reader) string {
	var line []byte
	for one := make([]byte, 1); len(line) < 100; {
		if n, err := in.Read(one); n == 0 || err != nil || one[0] == '\n' {
			break
		}
		line = append(line, one[0])
	}
	return strings.TrimSpace(string(line))
}

var errInterrupted = errors.New("interrupted")

// reading calls read, and does not wait for it once ctx has ended: nothing else ends a read
// of the standard input, which goes on until the program ends.
func reading[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var nothing T
		return nothing, errInterrupted
	}
}
