package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/examples/tpm/internal/swtpm"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// asProgram makes the test binary the program.
const asProgram = "FLEETPROV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	password = "claim-p4ssword"
	patience = 2 * time.Minute // longer than anything here takes on a busy machine
)

// device is a board with a TPM and a disk, and the AWS that it talks to.
type device struct {
	t      *testing.T
	server *fleetprovtest.Server // nil: the one in the program
	chip   *swtpm.TPM
	claim  string // file
	state  string // directory
	flags  []string
}

func newDevice(t *testing.T, flags ...string) *device {
	t.Helper()
	server := fleetprovtest.NewServer()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	d := &device{
		t:      t,
		server: server,
		chip:   swtpm.New(t),
		claim:  filepath.Join(dir, "claim.pfx"),
		state:  filepath.Join(dir, "state"),
	}
	require.NoError(t, os.WriteFile(d.claim, server.ClaimPFX(password), 0o600))
	d.flags = append([]string{"-tpm", d.chip.Path, "-pfx", d.claim, "-state", d.state, "-serial", "0042", "-renew-template", "test-template"}, flags...)
	return d
}

// boot starts the program.
func (d *device) boot(flags ...string) *process {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	d.t.Cleanup(cancel)
	p := &process{t: d.t, command: exec.CommandContext(ctx, os.Args[0], append(d.flags, flags...)...)}
	p.command.Env = append(os.Environ(), asProgram+"=1", "AWS_HOSTNAME=")
	if d.server != nil {
		p.command.Env = append(p.command.Env, "AWS_HOSTNAME="+d.server.Endpoint(), "TEMPLATE_NAME=test-template", "IDENTITY_PASSWORD="+password)
	}
	p.command.Stdout, p.command.Stderr = &p.screen, &p.screen
	require.NoError(d.t, p.command.Start())
	return p
}

// cutPowerAt lets the device run until AWS has done what op asks for, and cuts its power
// before it hears of that.
func (d *device) cutPowerAt(op fleetprovtest.Op, flags ...string) {
	d.t.Helper()
	asked := d.asked(op)
	d.server.Inject(op, fleetprovtest.Fault{Drop: true})
	p := d.boot(flags...)
	require.Eventually(d.t, func() bool { return d.asked(op) > asked }, patience, 5*time.Millisecond, "%s: %s", op, &p.screen)
	p.kill()
	d.chip.CutPower(d.t)
}

func (d *device) asked(op fleetprovtest.Op) (times int) {
	for _, r := range d.server.Requests() {
		if r.Op == op {
			times++
		}
	}
	return times
}

// assertNoPrivateKeys reads all that is on the disk.
func (d *device) assertNoPrivateKeys() {
	d.t.Helper()
	var files int
	require.NoError(d.t, filepath.WalkDir(d.state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, of := range []string{"BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY", "BEGIN RSA PRIVATE KEY"} {
			assert.NotContains(d.t, string(data), of, path)
		}
		return err
	}))
	require.NotZero(d.t, files)
}

// process is the program, running.
type process struct {
	t       *testing.T
	command *exec.Cmd
	screen  screen
}

// shows waits until the program has printed text.
func (p *process) shows(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.screen.String(), text) }, patience, 5*time.Millisecond,
		"%q is not printed: %s", text, &p.screen)
}

// interrupt presses Ctrl-C.
func (p *process) interrupt() {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(os.Interrupt))
	require.NoError(p.t, p.command.Wait(), &p.screen)
	assert.NotContains(p.t, p.screen.String(), password)
}

// kill ends the program in the middle of what it does.
func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Kill())
	require.Error(p.t, p.command.Wait())
	assert.NotContains(p.t, p.screen.String(), password)
}

// screen is a buffer that can be read while a program prints to it.
type screen struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.String()
}
