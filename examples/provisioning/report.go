package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fleetprov/fleetprov"
)

// progress prints a line for each step: its name as it begins, its time as it
// ends.
type progress struct {
	w     io.Writer
	whole bool // print whole lines only, because log lines would come in between
}

func (p progress) report(_ context.Context, step fleetprov.Progress) {
	if step.Done == p.whole {
		fmt.Fprintf(p.w, "  %-26s", step.Op)
	}
	if !step.Done {
		return
	}
	elapsed := step.Elapsed.Round(100 * time.Microsecond)
	switch {
	case step.Err == nil:
		fmt.Fprintf(p.w, "%10v\n", elapsed)
	case step.Wait > 0:
		fmt.Fprintf(p.w, "%10v  failed, again in %v: %v\n", elapsed, step.Wait.Round(100*time.Millisecond), step.Err)
	default:
		fmt.Fprintf(p.w, "%10v  failed\n", elapsed)
	}
}

func printCredentials(w io.Writer, c *fleetprov.Credentials, dir string) {
	fmt.Fprintf(w, "\nThing name:           %q\n", c.ThingName)
	fmt.Fprintf(w, "Certificate id:       %s\n", c.CertificateID)
	fmt.Fprintf(w, "Device configuration:")
	for _, name := range slices.Sorted(maps.Keys(c.DeviceConfiguration)) {
		fmt.Fprintf(w, " %q=%q", name, c.DeviceConfiguration[name])
	}
	fmt.Fprintf(w, "\n\n")
	fmt.Fprintf(w, "All in one file:      %s\n", filepath.Join(dir, credentialsFile))
	fmt.Fprintf(w, "Certificate:          %s\n", filepath.Join(dir, certificateFile))
	fmt.Fprintf(w, "Private key:          %s\n", filepath.Join(dir, privateKeyFile))
}
