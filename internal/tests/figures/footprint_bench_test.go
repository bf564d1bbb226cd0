package figures_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// boards are the targets that the library is measured for, with their settings.
var boards = []string{"amd64", "arm/GOARM=6", "arm64", "mipsle/GOMIPS=softfloat", "riscv64"}

// BenchmarkFootprint builds the programs of testdata/footprint for small boards. It
// reports the size of the one that uses this library, in MB of 10^6 bytes, and how
// much larger that is than the same exchange written by hand on paho.mqtt.golang,
// crypto/tls and encoding/json.
func BenchmarkFootprint(b *testing.B) {
	for _, target := range boards {
		architecture, setting, _ := strings.Cut(target, "/")
		b.Run(architecture, func(b *testing.B) {
			for b.Loop() {
				firmware := sizeOf(b, "firmware", nil, "GOARCH="+architecture, setting)
				b.ReportMetric(firmware, "binary-MB")
				for _, other := range []string{"byhand", "bare"} {
					b.ReportMetric(firmware-sizeOf(b, other, nil, "GOARCH="+architecture, setting), "over-"+other+"-MB")
				}
			}
			b.ReportMetric(0, "ns/op") // nothing is timed
		})
	}
}

// sizeOf returns the size of a program for Linux, in MB.
func sizeOf(t testing.TB, program string, flags []string, environment ...string) float64 {
	t.Helper()
	info, err := os.Stat(buildFootprint(t, program, flags, append(environment, "GOOS=linux")...))
	require.NoError(t, err)
	return float64(info.Size()) / 1e6
}

// buildFootprint builds a program of testdata/footprint, as one would for a device,
// with flags of the go command besides, and returns its path.
func buildFootprint(t testing.TB, program string, flags []string, environment ...string) string {
	t.Helper()
	return buildProgram(t, program, append([]string{"-ldflags", "-s -w"}, flags...), environment...)
}

// buildProgram is buildFootprint with no flags but these.
func buildProgram(t testing.TB, program string, flags []string, environment ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), program+".exe") // which Windows asks for
	build := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build", "-o", binary}, flags, []string{"./testdata/footprint/" + program})...)
	build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), environment...)
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return binary
}
