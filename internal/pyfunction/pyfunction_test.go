//go:build unix

package pyfunction_test

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/pyfunction"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// lines is what a function prints.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	for name, content := range files {
		file, err := writer.Create(name)
		require.NoError(t, err)
		_, err = file.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, writer.Close())
	return archive.Bytes()
}

// start makes the function f of a module, which ends with the test.
func start(t *testing.T, module string) (*pyfunction.Function, *lines) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	t.Setenv("TMPDIR", t.TempDir())
	printed := new(lines)
	archive := pack(t, map[string]string{"module.py": module, "data/words.txt": "word", "data/": ""})
	f, err := pyfunction.New(archive, "module.f", append(os.Environ(), "GIVEN=value", "PYTHONDONTWRITEBYTECODE=1"), printed)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, f.Close())
		left, err := os.ReadDir(os.Getenv("TMPDIR"))
		assert.NoError(t, err)
		assert.Empty(t, left)
	})
	return f, printed
}

func TestInvoke(t *testing.T) {
	for _, test := range []struct {
		name, module string
		answer       any
		err          string
	}{
		{"an answer", "def f(event, context): return {'twice': 2 * event['number']}", map[string]any{"twice": 42.0}, ""},
		{"a file of the archive", "def f(event, context): return open('data/words.txt').read()", "word", ""},
		{"the environment", "import os\ndef f(event, context): return os.environ['GIVEN']", "value", ""},
		{"no answer", "def f(event, context): pass", nil, ""},
		{"an exception", "def f(event, context): return event['none']", nil, "the function failed: KeyError: 'none'"},
		{"an answer that is no JSON", "def f(event, context): return {1}", nil, "the function failed: TypeError: Object of type set is not JSON serializable"},
		{"no such function", "def g(event, context): pass", nil, "the module was not imported: the process has ended"},
		{"a module with a mistake", "def f(", nil, "the module was not imported: the process has ended"},
		{"a process that ends", "import os\ndef f(event, context): os._exit(0)", nil, "the process has ended"},
		{"a process that closes its output", "import os\ndef f(event, context): os.closerange(3, 99); os._exit(0)", nil, "the process has ended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, _ := start(t, test.module)
			var answer any
			err := f.Invoke(provtest.Context(t), map[string]int{"number": 21}, &answer)
			if test.err != "" {
				assert.EqualError(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.answer, answer)
		})
	}
}

func TestAProcessIsUsedAgain(t *testing.T) {
	f, printed := start(t, "import os\nprint('imported')\ndef f(event, context):\n  print('called')\n  return os.getpid()")
	require.NoError(t, f.Warm(provtest.Context(t)))
	var first, second int
	require.NoError(t, f.Invoke(provtest.Context(t), nil, &first))
	require.NoError(t, f.Invoke(provtest.Context(t), nil, &second))
	assert.Equal(t, first, second)
	require.NoError(t, f.Close())
	assert.Equal(t, 1, strings.Count(printed.String(), "imported"))
	assert.ErrorContains(t, f.Invoke(provtest.Context(t), nil, &first), "the function was deleted")
}

func TestEventsAtTheSameTimeHaveProcessesOfTheirOwn(t *testing.T) {
	// Each call waits for the file of the other.
	f, _ := start(t, `
import os, time
def f(event, context):
  open(event, "w").close()
  while len([n for n in os.listdir(".") if n.startswith("call-")]) < 2:
    time.sleep(0.01)
  return os.getpid()`)
	pids := make(chan int, 2)
	for _, name := range []string{"call-1", "call-2"} {
		go func() {
			var pid int
			assert.NoError(t, f.Invoke(provtest.Context(t), name, &pid))
			pids <- pid
		}()
	}
	assert.NotEqual(t, provtest.Wait(t, pids), provtest.Wait(t, pids))
}

// What a function has started is killed with it.
func TestTheContextEndsAFunctionWithItsGroup(t *testing.T) {
	f, _ := start(t, `
import subprocess, time
def f(event, context):
  child = subprocess.Popen(["sleep", "1000"])
  with open(event + ".new", "w") as file: file.write(str(child.pid))
  import os; os.rename(event + ".new", event)
  time.sleep(1000)`)
	told := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Invoke(ctx, told, new(any)) }()
	require.Eventually(t, func() bool { _, err := os.Stat(told); return err == nil }, time.Minute, time.Millisecond)
	written, err := os.ReadFile(told)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(written))
	require.NoError(t, err)
	cancel()
	assert.ErrorIs(t, provtest.Wait(t, ended), context.Canceled)
	require.Eventually(t, func() bool { return gone(pid) }, time.Minute, time.Millisecond)
}

// gone reports whether a process has ended, be it that nobody has waited for it.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(status), ") Z ")
}

func TestCloseEndsCallsThatAreUnderWay(t *testing.T) {
	f, _ := start(t, "import time\ndef f(event, context):\n  open(event, 'w').close()\n  time.sleep(1000)")
	begun := filepath.Join(t.TempDir(), "begun")
	ended := make(chan error, 1)
	go func() { ended <- f.Invoke(t.Context(), begun, new(any)) }()
	require.Eventually(t, func() bool { _, err := os.Stat(begun); return err == nil }, time.Minute, time.Millisecond)
	require.NoError(t, f.Close())
	assert.Error(t, provtest.Wait(t, ended))
}

func TestArchivesThatCannotBeUsed(t *testing.T) {
	for name, archive := range map[string][]byte{
		"that is none":                  []byte("PK"),
		"that leaves its directory":     pack(t, map[string]string{"../module.py": ""}),
		"with an absolute path":         pack(t, map[string]string{"/module.py": ""}),
		"that is cut off in its middle": pack(t, map[string]string{"module.py": "def f(event, context): pass"})[:40],
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			assert.Error(t, pyfunction.CheckArchive(archive))
			f, err := pyfunction.New(archive, "module.f", nil, nil)
			assert.Error(t, err)
			assert.Nil(t, f)
			left, err := os.ReadDir(os.Getenv("TMPDIR"))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func FuzzArchive(f *testing.F) {
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	_, err := writer.Create("module.py")
	require.NoError(f, err)
	require.NoError(f, writer.Close())
	f.Add(archive.Bytes())
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := pyfunction.CheckArchive(data); err != nil {
			function, err := pyfunction.New(data, "module.f", nil, nil)
			assert.Error(t, err)
			assert.Nil(t, function)
		}
	})
}
