package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fleetprov/fleetprov"
)

// progress prints a line for each step that ends, except for the many and quick
// ones of the store.
type progress struct{ w io.Writer }

func (p progress) report(_ context.Context, step fleetprov.Progress) {
	elapsed := step.Elapsed.Round(100 * time.Microsecond)
	switch {
	case !step.Done || step.Op == fleetprov.OpStore && step.Err == nil:
	case step.Wait > 0:
		fmt.Fprintf(p.w, "  again in %v: %v\n", step.Wait.Round(100*time.Millisecond), step.Err)
	case step.Err != nil:
		fmt.Fprintf(p.w, "  %-26s%10v  failed\n", step.Op, elapsed)
	default:
		fmt.Fprintf(p.w, "  %-26s%10v\n", step.Op, elapsed)
	}
}
