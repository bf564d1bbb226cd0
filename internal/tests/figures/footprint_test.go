package figures_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// maxGoroutines is how many a device's process may have for one run, the caller's
// included.
const maxGoroutines = 16

var goroutineRuns = []struct {
	name    string
	options []fleetprov.Option
	fault   fleetprovtest.Fault
}{
	{"with AWS's key", nil, fleetprovtest.Fault{}},
	{"with the device's own key", []fleetprov.Option{fleetprov.WithGeneratedKey()}, fleetprovtest.Fault{}},
	{"pipelined", []fleetprov.Option{fleetprov.WithPipelining()}, fleetprovtest.Fault{}},
	{"verified", []fleetprov.Option{fleetprov.WithVerification()}, fleetprovtest.Fault{}},
	{"after a lost connection", []fleetprov.Option{fleetprov.WithBackoff(time.Nanosecond, time.Nanosecond)}, fleetprovtest.Fault{Disconnect: true}},
}

func TestGoroutinesOfOneRun(t *testing.T) {
	for _, run := range goroutineRuns {
		t.Run(run.name, func(t *testing.T) {
			server := provtest.NewServer(t)
			server.Inject(fleetprovtest.OpRegisterThing, run.fault)
			claim := filepath.Join(t.TempDir(), "claim.pfx")
			require.NoError(t, os.WriteFile(claim, server.ClaimPFX(provtest.Password), 0o600))

			device := provtest.Process(provtest.Context(t), "TestDeviceProcessThatCountsGoroutines",
				goroutineRun+"="+run.name, "ENDPOINT="+server.Endpoint(), "CLAIM_PFX="+claim)
			output, err := device.CombinedOutput()
			assert.NoError(t, err, "%s", output)
			assert.Len(t, server.Things(), 1)
		})
	}
}

// goroutineRun names the run of a process that counts its goroutines.
const goroutineRun = "FLEETPROV_TEST_GOROUTINES"

func TestDeviceProcessThatCountsGoroutines(t *testing.T) {
	name := os.Getenv(goroutineRun)
	if name == "" {
		t.Skip("for the processes that other tests start")
	}
	claim, err := fleetprov.LoadPFX(os.Getenv("CLAIM_PFX"), provtest.Password)
	require.NoError(t, err)
	for _, run := range goroutineRuns {
		if run.name != name {
			continue
		}
		count := goroutineCount{others: runtime.NumGoroutine() - 1}
		options := append(run.options, fleetprov.WithDialer(count.dial), fleetprov.WithProgress(count.progress))
		provisioner, err := fleetprov.New(os.Getenv("ENDPOINT"), provtest.Template, claim, options...)
		require.NoError(t, err)
		_, err = provisioner.Provision(provtest.Context(t), nil)
		require.NoError(t, err)
		assert.LessOrEqual(t, count.peak.Load(), int64(maxGoroutines))
		assert.Greater(t, count.peak.Load(), int64(5), "paho's are counted")
	}
}

// goroutineCount counts the goroutines of the process whenever a run does something
// that others can see: at the beginning and end of each step, read and write.
type goroutineCount struct {
	others int // that have no part in the run
	peak   atomic.Int64
}

func (c *goroutineCount) now() {
	n := int64(runtime.NumGoroutine() - c.others)
	for peak := c.peak.Load(); n > peak && !c.peak.CompareAndSwap(peak, n); peak = c.peak.Load() {
	}
}

func (c *goroutineCount) progress(context.Context, fleetprov.Progress) { c.now() }

func (c *goroutineCount) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &countingConn{conn, c}, err
}

type countingConn struct {
	net.Conn
	count *goroutineCount
}

func (c *countingConn) Read(p []byte) (int, error) {
	c.count.now()
	defer c.count.now()
	return c.Conn.Read(p)
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.count.now()
	defer c.count.now()
	return c.Conn.Write(p)
}

// What only some programs use is reached through the option or the method that asks
// for it, so that the linker leaves it out of all others.
func TestFirmwareLinksNothingItDoesNotUse(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "firmware")
	output, err := exec.Command("go", "build", "-o", binary, "./testdata/footprint/firmware").CombinedOutput()
	require.NoError(t, err, "%s", output)
	symbols, err := exec.Command("go", "tool", "nm", binary).Output()
	require.NoError(t, err)
	links := func(symbol string) bool { return strings.Contains(string(symbols), " "+symbol) }
	require.True(t, links(provtest.ModulePath+".(*Provisioner).Provision"))
	for unwanted, user := range map[string]string{
		provtest.ModulePath + "/internal/journal.(*record).marshal": "Ensure and Renew",
		"crypto/x509.CreateCertificateRequest":                      "WithGeneratedKey and WithPrivateKey",
		provtest.ModulePath + "/internal/exchange.(*cborDecoder)":   "WithCBOR",
		"log/slog.(*commonHandler)":                                 "WithLogger",
		"github.com/fxamacker/cbor":                                 "nobody",
		"golang.org/x/net/idna":                                     "nobody",
		"regexp.":                                                   "nobody",
		"embed.FS":                                                  "nobody",
	} {
		assert.False(t, links(unwanted), "%s is linked, which is for %s", unwanted, user)
	}
}
