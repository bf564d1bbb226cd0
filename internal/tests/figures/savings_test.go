package figures_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// saving is what the author of a firmware can do to make it smaller.
type saving struct {
	name     string // in the table of docs/figures.md
	program  string // of testdata/footprint
	stub     bool   // gorilla/websocket is replaced
	noInline bool
}

var savings = []saving{
	{name: "a claim in PEM", program: "firmwarepem"},
	{name: "the stub for gorilla/websocket", program: "firmware", stub: true},
	{name: "no inlining", program: "firmware", noInline: true},
	{name: "all three", program: "firmwarepem", stub: true, noInline: true},
}

// flags are those of the go command.
func (s saving) flags(t testing.TB) (flags []string) {
	t.Helper()
	if s.stub {
		flags = append(flags, "-modfile="+modfileWithStub(t))
	}
	if s.noInline {
		flags = append(flags, "-gcflags=all=-l")
	}
	return flags
}

// less is by how many kB the firmware is smaller on amd64.
func (s saving) less(t testing.TB) float64 {
	t.Helper()
	return 1e3 * (sizeOf(t, "firmware", nil, "GOARCH=amd64") - sizeOf(t, s.program, s.flags(t), "GOARCH=amd64"))
}

// modfileWithStub returns a go.mod that replaces gorilla/websocket, as that of a firmware
// would.
func modfileWithStub(t testing.TB) (path string) {
	t.Helper()
	directory := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(provtest.Root(t, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), data, 0o600))
	}
	path = filepath.Join(directory, "go.mod")
	edit := exec.CommandContext(provtest.Context(t), "go", "mod", "edit", "-replace", "github.com/gorilla/websocket="+provtest.Root(t, "stubs", "websocket"), path)
	output, err := edit.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return path
}

// needTime skips a test without -full if the standard library is compiled once more.
func needTime(t *testing.T, s saving) {
	t.Helper()
	if s.noInline && !*provtest.Full {
		t.Skip("-full runs it")
	}
}

// A firmware with any of the savings is provisioned as one without, and the stub is what
// it links.
func TestPrintedSavingsStillProvision(t *testing.T) {
	server := provtest.NewServer(t)
	environment := deviceEnvironment(t, server.Endpoint(), server.ClaimPFX(provtest.Password))
	for _, s := range savings {
		t.Run(s.name, func(t *testing.T) {
			needTime(t, s)
			before := len(server.Certificates())
			runFirmware(t, buildFootprint(t, s.program, s.flags(t)), environment)
			assert.Greater(t, len(server.Certificates()), before)
		})
	}
	for program, dials := range map[string]bool{
		buildProgram(t, "firmware", nil):                                        true,
		buildProgram(t, "firmware", []string{"-modfile=" + modfileWithStub(t)}): false,
	} {
		symbols, err := exec.CommandContext(provtest.Context(t), "go", "tool", "nm", program).Output()
		require.NoError(t, err)
		assert.Equal(t, dials, bytes.Contains(symbols, []byte("github.com/gorilla/websocket.(*Dialer).DialContext")))
	}
}

// BenchmarkSavings reports how many kB smaller each saving makes the firmware on amd64,
// and how much processor time a run of it takes on this machine, as a multiple of what a
// run without the saving takes, which comes before it each time. It takes the medians,
// which a busy machine disturbs the least.
func BenchmarkSavings(b *testing.B) {
	server := startServerProcess(b).withRSAClaim(b)
	environment := deviceEnvironment(b, server.endpoint, server.pfx)
	plain := buildFootprint(b, "firmware", nil)
	for _, s := range savings {
		b.Run(s.name, func(b *testing.B) {
			less, program := s.less(b), buildFootprint(b, s.program, s.flags(b))
			var without, with []time.Duration
			for b.Loop() {
				without = append(without, runFirmware(b, plain, environment))
				with = append(with, runFirmware(b, program, environment))
			}
			before, after := median(without), median(with)
			b.ReportMetric(less, "kB-less")
			b.ReportMetric(before.Seconds()*1e3, "cpu-ms-without")
			b.ReportMetric(after.Seconds()*1e3, "cpu-ms")
			b.ReportMetric(after.Seconds()/before.Seconds(), "cpu-ratio")
			b.ReportMetric(0, "ns/op") // the rest of the machine is not measured
		})
	}
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// runFirmware lets a firmware provision its device, and returns how much processor time it
// took.
func runFirmware(t testing.TB, program string, environment []string) time.Duration {
	t.Helper()
	device := exec.CommandContext(provtest.Context(t), program)
	device.Env = append(os.Environ(), environment...)
	output, err := device.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Equal(t, "12345\n", string(output))
	return device.ProcessState.UserTime() + device.ProcessState.SystemTime()
}

// deviceEnvironment puts a claim on a disk, as PFX and as PEM, and returns the environment
// of the programs of testdata/footprint.
func deviceEnvironment(t testing.TB, endpoint string, pfx []byte) []string {
	t.Helper()
	key, leaf, roots, err := pkcs12.DecodeChain(pfx, provtest.Password)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var rootPEM []byte
	for _, root := range roots {
		rootPEM = append(rootPEM, provtest.PEM("CERTIFICATE", root.Raw)...)
	}
	directory := t.TempDir()
	environment := []string{"ENDPOINT=" + endpoint, "TEMPLATE=" + provtest.Template, "CLAIM_PASSWORD=" + provtest.Password, "SERIAL_NUMBER=12345"}
	for variable, data := range map[string][]byte{
		"CLAIM_PFX":         pfx,
		"CLAIM_CERTIFICATE": provtest.PEM("CERTIFICATE", leaf.Raw),
		"CLAIM_KEY":         provtest.PEM("PRIVATE KEY", keyDER),
		"ROOT_CA":           rootPEM,
	} {
		path := filepath.Join(directory, variable)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		environment = append(environment, variable+"="+path)
	}
	return slices.Clip(environment)
}
