package rules_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// The code of the pages is built, tested and run in a module of its own outside the
// repository, as a user's would be: a page for a package, a block for a file.
func TestPagesShowCodeThatRuns(t *testing.T) {
	module := newModule(t)
	for _, page := range pages(t) {
		for i, source := range blocks(t, page, "go") {
			name := fmt.Sprintf("block%d.go", i)
			if strings.Contains(source, "testing.T") {
				name = fmt.Sprintf("block%d_test.go", i)
			}
			folder := filepath.Join(module, strings.ToLower(strings.TrimSuffix(path.Base(page), ".md")))
			require.NoError(t, os.MkdirAll(folder, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(source), 0o600))
		}
	}
	require.DirExists(t, filepath.Join(module, "readme"))
	goCommand(t, module, "vet", "./...")
	assert.Contains(t, goCommand(t, module, "test", "-v", "-run", "TestDeviceThatIsRefused", "./readme"), "--- PASS: TestDeviceThatIsRefused")
	program := filepath.Join(module, "device.exe")
	goCommand(t, module, "build", "-o", program, "./readme")

	server := fleetprovtest.NewUnstartedServer()
	server.Template = "fleet-template"
	server.Start()
	defer server.Close()
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "claim_identity.pfx"), server.ClaimPFX(provtest.Password), 0o600))
	// A device works until its power is cut.
	boots := func(because string) {
		ctx, powerOff := context.WithCancel(provtest.Context(t))
		defer powerOff()
		device := exec.CommandContext(ctx, program)
		device.Dir = home
		device.Env = append(os.Environ(), "AWS_HOSTNAME="+server.Endpoint(), "IDENTITY_PASSWORD="+provtest.Password)
		output, err := device.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, device.Start())
		var said string
		for lines := bufio.NewScanner(output); !strings.Contains(said, `I am "12345"`) && lines.Scan(); {
			said += lines.Text() + "\n"
		}
		powerOff()
		_ = device.Wait() // it was killed
		assert.Contains(t, said, `I am "12345"`, because)
	}
	boots("the first boot")
	require.Len(t, server.Things(), 1)
	server.Close()
	boots("without a network")
}

// newModule makes a module that requires this one as it is on the disk.
func newModule(t *testing.T) (directory string) {
	t.Helper()
	directory = t.TempDir()
	// The same versions as here are in the module cache, and in go.sum.
	ours := read(t, "go.mod")
	theirs := strings.Replace(ours, "module "+provtest.ModulePath, "module example.com/device", 1) +
		fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %[1]s => %s\n", provtest.ModulePath, provtest.Root(t))
	require.NoError(t, os.WriteFile(filepath.Join(directory, "go.mod"), []byte(theirs), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(directory, "go.sum"), []byte(read(t, "go.sum")), 0o600))
	return directory
}

// goCommand runs the go command in a module, offline.
func goCommand(t *testing.T, module string, arguments ...string) (output string) {
	t.Helper()
	command := exec.CommandContext(provtest.Context(t), "go", arguments...)
	command.Dir = module
	command.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=-mod=mod")
	data, err := command.CombinedOutput()
	require.NoError(t, err, "go %s: %s", strings.Join(arguments, " "), data)
	return string(data)
}

// What the README shows of a program's output is what the program prints, but for
// times and random values.
func TestReadmeShowsWhatTheExamplePrints(t *testing.T) {
	command := exec.CommandContext(provtest.Context(t), "go", "run", "./examples/provisioning")
	command.Dir = provtest.Root(t)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AWS_HOSTNAME=") && !strings.HasPrefix(variable, "TEMPLATE_NAME=") {
			command.Env = append(command.Env, variable)
		}
	}
	printed, err := command.Output()
	require.NoError(t, err)
	steady := func(text string) string {
		text = regexp.MustCompile(` +[0-9.]+(ms|µs|s)\b`).ReplaceAllString(text, " TIME")
		return regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(text, "ID")
	}
	shown := blocks(t, "README.md", "text")
	require.Len(t, shown, 1)
	assert.Contains(t, steady(strings.ReplaceAll(string(printed), "\r\n", "\n")), steady(shown[0]))
}
