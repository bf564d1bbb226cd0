package crash_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestDirStoreProcessThatPutsAndDeletes(t *testing.T) {
	store, _ := inStoreProcess(t)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("data")))
	require.NoError(t, store.Delete(provtest.Context(t), "credentials.pem"))
}

// What a crash leaves cannot be seen from a process that lives on, but the order
// of its system calls can: nothing gets its name, and no call returns, before the
// disk has it.
func TestDirStoreSyncsBeforeItReturns(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace")
	}
	store := newStore(t)
	trace := filepath.Join(t.TempDir(), "trace")
	process := exec.Command(strace, "-f", "-y", "-o", trace, "-e", "trace=mkdirat,fsync,renameat,renameat2,unlinkat",
		os.Args[0], "-test.run=^TestDirStoreProcessThatPutsAndDeletes$")
	process.Env = append(os.Environ(), storeProcess+"="+string(store))
	if output, err := process.CombinedOutput(); err != nil {
		if strings.Contains(string(output), "ptrace") {
			t.Skipf("no process can be traced here: %s", output)
		}
		require.NoError(t, err, "%s", output)
	}
	lines, err := os.ReadFile(trace)
	require.NoError(t, err)

	assert.Equal(t, []string{
		"mkdirat STORE",
		"fsync PARENT",
		"fsync STORE/.new",
		"renameat .new credentials.pem",
		"fsync STORE",
		"unlinkat credentials.pem",
		"fsync STORE",
	}, storeSystemCalls(string(lines), string(store)), "%s", lines)
}

// storeSystemCalls is what strace saw happen to the directory store, without the
// look for what a crash left.
func storeSystemCalls(trace, store string) []string {
	parent := filepath.Dir(store)
	synced := regexp.MustCompile(`(fsync)\(\d+<([^>]*)>`)
	named := regexp.MustCompile(`(mkdirat|unlinkat|renameat)2?\([^"]*"([^"]*)"(?:[^"]*"([^"]*)")?`)
	short := strings.NewReplacer(store, "STORE", parent, "PARENT")
	var calls []string
	for line := range strings.Lines(trace) {
		if !strings.Contains(line, parent) || strings.Contains(line, "unlinkat") && strings.Contains(line, `".new"`) {
			continue
		}
		for _, call := range []*regexp.Regexp{synced, named} {
			if found := call.FindStringSubmatch(line); found != nil {
				calls = append(calls, strings.TrimSpace(short.Replace(strings.Join(found[1:], " "))))
			}
		}
	}
	return calls
}
