package figures_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// BenchmarkResidentMemory provisions devices, a process for each, against a server in
// this process. It reports what a device's process had resident at its peak, in MB.
func BenchmarkResidentMemory(b *testing.B) {
	program := buildFootprint(b, "firmware", nil)
	server := provtest.NewServer(b)
	claim := filepath.Join(b.TempDir(), "claim.pfx")
	require.NoError(b, os.WriteFile(claim, server.ClaimPFX(provtest.Password), 0o600))
	var peak float64
	for b.Loop() {
		peak = max(peak, peakResident(b, program, server, claim))
	}
	b.ReportMetric(peak, "rss-MB")
	b.ReportMetric(0, "ns/op") // nothing is timed
}

// highWater is the most memory that a process had resident (proc_pid_status(5)). What
// getrusage says is no less than what the process that forked it had.
var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

func peakResident(b *testing.B, program string, server *fleetprovtest.Server, claim string) float64 {
	device := exec.CommandContext(b.Context(), program)
	device.Env = append(os.Environ(), "ENDPOINT="+server.Endpoint(), "TEMPLATE="+provtest.Template,
		"CLAIM_PFX="+claim, "CLAIM_PASSWORD="+provtest.Password, "SERIAL_NUMBER=12345")
	device.Stderr = os.Stderr
	stdin, err := device.StdinPipe()
	require.NoError(b, err)
	stdout, err := device.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, device.Start())

	thing, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	require.Equal(b, "12345\n", thing)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", device.Process.Pid))
	require.NoError(b, err)
	require.NoError(b, stdin.Close())
	require.NoError(b, device.Wait())

	match := highWater.FindSubmatch(status)
	require.NotNil(b, match, "%s", status)
	kilobytes, err := strconv.Atoi(string(match[1]))
	require.NoError(b, err)
	return float64(kilobytes) * 1024 / 1e6
}
