//go:build unix

package crash_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

var killSeed = flag.Uint64("seed", 0, "the seed of when processes are killed; 0 for another one each time")

// killDevice is a device whose boots are processes of their own.
type killDevice struct {
	Store        fleetprov.DirStore
	Endpoint     string
	Claim        string // the path of a PFX file
	SerialNumber string
}

// killOrder names, in a process of its own, what that is to do.
const killOrder = "FLEETPROV_TEST_BOOT"

func TestKillProcessThatBoots(t *testing.T) {
	order := os.Getenv(killOrder)
	if order == "" {
		t.Skip("for the processes that other tests start")
	}
	syscall.Umask(0) // the store alone keeps its files private
	var boot struct {
		Device killDevice
		Renew  bool
	}
	require.NoError(t, json.Unmarshal([]byte(order), &boot))
	os.Stdout.WriteString("ready\n")
	_, err := boot.Device.run(t, boot.Renew)
	require.NoError(t, err)
	os.Stdout.WriteString("done\n")
}

// run is what the firmware does: Ensure, or Renew.
func (d killDevice) run(t *testing.T, renew bool) (*fleetprov.Credentials, error) {
	claim, err := fleetprov.LoadPFX(d.Claim, provtest.Password)
	require.NoError(t, err)
	provisioner, err := fleetprov.New(d.Endpoint, provtest.Template, claim, fleetprov.WithGeneratedKey(), fleetprov.WithVerification())
	require.NoError(t, err)
	job := provisioner.Ensure
	if renew {
		job = provisioner.Renew
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return job(ctx, d.Store, map[string]string{"SerialNumber": d.SerialNumber})
}

// killer starts processes and kills them.
type killer struct {
	t      *testing.T
	server *fleetprovtest.Server
	claim  string
	random *rand.Rand
	renew  bool

	devices int
	takes   time.Duration // what a boot takes
	kills   int
	left    map[string]int // what the kills left
}

func newKiller(t *testing.T, renew bool) *killer {
	t.Helper()
	server := provtest.NewServer(t)
	claim := filepath.Join(t.TempDir(), "claim.pfx")
	require.NoError(t, os.WriteFile(claim, server.ClaimPFX(provtest.Password), 0o600))
	seed := cmp.Or(*killSeed, rand.Uint64())
	t.Logf("-seed %d", seed)
	return &killer{t: t, server: server, claim: claim, random: rand.New(rand.NewPCG(seed, 0)), renew: renew, left: map[string]int{}}
}

// enough reports whether the test may end.
func (k *killer) enough() bool {
	wanted := 15
	if *provtest.Full {
		wanted = 300
	}
	return k.kills >= wanted
}

func (k *killer) newDevice() killDevice {
	k.devices++
	return killDevice{newStore(k.t), k.server.Endpoint(), k.claim, fmt.Sprint("device-", k.devices)}
}

// measure sets what a boot takes: the median, since a disk may be busy for a while.
func (k *killer) measure(devices ...killDevice) {
	var all []time.Duration
	for _, device := range devices {
		took, killed := k.boot(device, time.Minute)
		require.False(k.t, killed)
		all = append(all, took)
	}
	slices.Sort(all)
	k.takes = all[len(all)/2]
}

// kill kills a boot at a random instant, and reports whether it had not ended.
func (k *killer) kill(d killDevice) bool {
	_, killed := k.boot(d, time.Duration(1.3*k.random.Float64()*float64(k.takes)))
	if killed {
		k.kills++
	}
	return killed
}

// boot starts a process that boots the device, and kills it after a time.
func (k *killer) boot(d killDevice, after time.Duration) (took time.Duration, killed bool) {
	order, err := json.Marshal(map[string]any{"Device": d, "Renew": k.renew})
	require.NoError(k.t, err)
	process := provtest.Process(provtest.Context(k.t), "TestKillProcessThatBoots", killOrder+"="+string(order))
	output, err := process.StdoutPipe()
	require.NoError(k.t, err)
	process.Stderr = os.Stderr
	require.NoError(k.t, process.Start())
	defer process.Process.Kill()

	var log strings.Builder
	var ready time.Time
	done := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		switch lines.Text() {
		case "ready":
			ready = time.Now()
			defer time.AfterFunc(after, func() { process.Process.Kill() }).Stop()
		case "done":
			took, done = time.Since(ready), true
		default:
			fmt.Fprintln(&log, lines.Text())
		}
	}
	err = process.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return took, !done
	}
	require.NoError(k.t, err, "%s", log.String())
	require.True(k.t, done, "%s", log.String())
	return took, false
}

// look checks what is on the disk of a device, at whatever time, and returns the
// credentials, or nil if there are none yet.
func (k *killer) look(d killDevice) *fleetprov.Credentials {
	k.t.Helper()
	require.NoError(k.t, filepath.WalkDir(string(d.Store), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // not even the directory is there yet
		}
		require.NoError(k.t, err)
		info, err := entry.Info()
		require.NoError(k.t, err)
		assert.Zero(k.t, info.Mode()&0o077, "%s is open to others", path)
		assert.NotContains(k.t, path, "damaged-")
		return nil
	}))
	credentials, err := fleetprov.LoadCredentials(k.t.Context(), d.Store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(k.t, err)
	k.connects(credentials)
	return credentials
}

// connects shows that the endpoint takes the credentials: it provisions with them.
func (k *killer) connects(c *fleetprov.Credentials) {
	k.t.Helper()
	certificate, err := c.TLSCertificate()
	require.NoError(k.t, err, "the key belongs to the certificate")
	identity, err := fleetprov.NewIdentity(certificate, c.Roots...)
	require.NoError(k.t, err)
	provisioner, err := fleetprov.New(k.server.Endpoint(), "no-such-template", identity, fleetprov.WithGeneratedKey(), provtest.OneAttempt)
	require.NoError(k.t, err)
	_, err = provisioner.Provision(k.t.Context(), nil)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(k.t, err, &rejected, "it got as far as registering")
	require.Equal(k.t, 404, rejected.StatusCode)
}

// active are the ids of the active certificates of a device, in order of issue.
func (k *killer) active(d killDevice) []string {
	var ids []string
	for _, certificate := range k.server.Certificates() {
		if certificate.ThingName == d.SerialNumber && certificate.Status == "ACTIVE" {
			ids = append(ids, certificate.ID)
		}
	}
	return ids
}

// phase is what the journal of a device tells: "" if there is none.
func (k *killer) phase(d killDevice) string {
	k.t.Helper()
	data, err := d.Store.Get(k.t.Context(), "pending.pem")
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	require.NoError(k.t, err)
	block, rest := pem.Decode(data)
	require.NotNil(k.t, block, "the journal is whole")
	var journal struct{ Phase string }
	require.NoError(k.t, json.Unmarshal(block.Bytes, &journal))
	if journal.Phase != "probe" {
		_, err := fleetprov.ParseCredentials(rest)
		require.NoError(k.t, err)
	}
	return journal.Phase
}

// note counts what a kill left.
func (k *killer) note(what string, d killDevice) {
	if phase := k.phase(d); phase != "" {
		what += ", journal " + phase
	}
	if _, err := os.Stat(filepath.Join(string(d.Store), ".new")); err == nil {
		what += ", half a file"
	}
	k.left[what]++
}

func (k *killer) report() {
	k.t.Logf("%d kills of %d devices, in what takes %v, left: %v", k.kills, k.devices, k.takes, k.left)
}

// TestEnsureSurvivesKill kills the first boots of devices at any time, several in
// a row, lets the next one be, and looks whether all is well.
func TestEnsureSurvivesKill(t *testing.T) {
	t.Parallel()
	k := newKiller(t, false)
	defer k.report()
	k.measure(k.newDevice(), k.newDevice(), k.newDevice(), k.newDevice(), k.newDevice())
	for !k.enough() {
		device := k.newDevice()
		for range 1 + k.random.IntN(6) {
			if !k.kill(device) {
				break
			}
			if k.look(device) == nil {
				k.note("no credentials", device)
			} else {
				k.note("credentials", device)
			}
			assert.LessOrEqual(t, len(k.active(device)), 1)
		}

		credentials, err := device.run(t, false)
		require.NoError(t, err)
		assert.Equal(t, credentials, k.look(device))
		assert.Equal(t, []string{credentials.CertificateID}, k.active(device), "one active certificate, and it is the device's")
		names := []string{"credentials.pem"}
		if k.phase(device) == "accepted" {
			names = append(names, "pending.pem") // stored credentials are returned without a write
		}
		storeHoldsOnly(t, device.Store, names...)
		require.False(t, t.Failed())
	}
}

// TestRenewSurvivesKill does the same to renewals. At no time may the device be
// without credentials that work.
func TestRenewSurvivesKill(t *testing.T) {
	t.Parallel()
	k := newKiller(t, true)
	defer k.report()
	provisioned := func() killDevice {
		device := k.newDevice()
		_, err := device.run(t, false)
		require.NoError(t, err)
		return device
	}
	k.measure(provisioned(), provisioned(), provisioned(), provisioned(), provisioned())
	for !k.enough() {
		device := provisioned()
		old := k.look(device)
		before, err := device.Store.Get(provtest.Context(t), "credentials.pem")
		require.NoError(t, err)
		for range 1 + k.random.IntN(6) {
			killed := k.kill(device)
			current := k.look(device)
			require.NotNil(t, current)
			switch {
			case current.CertificateID == old.CertificateID:
				assert.Equal(t, old, current)
				k.note("old credentials", device)
			case killed:
				k.note("new credentials", device)
			}
			assert.LessOrEqual(t, len(k.active(device)), 2)
			if !killed || current.CertificateID != old.CertificateID && k.phase(device) == "" {
				break // nothing was left to do
			}
		}

		current := k.look(device)
		if current.CertificateID == old.CertificateID || k.phase(device) != "" {
			current, err = device.run(t, true)
			require.NoError(t, err)
			assert.Equal(t, current, k.look(device))
		}
		assert.Equal(t, []string{old.CertificateID, current.CertificateID}, k.active(device))
		assert.Equal(t, old.CertificateID, current.PreviousCertificateID)
		storeHas(t, device.Store, "previous.pem", string(before))
		storeHoldsOnly(t, device.Store, "credentials.pem", "previous.pem")
		require.False(t, t.Failed())
	}
}
