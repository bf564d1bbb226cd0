package crash_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// storeProcess names, in a process of its own, the store that it works on.
const storeProcess = "FLEETPROV_TEST_STORE"

// startStoreProcess starts the test of that name in a process of its own and
// waits until that says that it is ready. It lives until it is killed.
func startStoreProcess(t *testing.T, test string, store fleetprov.DirStore) (kill func()) {
	t.Helper()
	process := provtest.Process(provtest.Context(t), test, storeProcess+"="+string(store))
	process.Stderr = os.Stderr
	input, err := process.StdinPipe() // it ends with this process at the latest
	require.NoError(t, err)
	output, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	kill = func() {
		process.Process.Kill()
		process.Wait()
		input.Close()
	}
	t.Cleanup(kill)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if strings.Contains(lines.Text(), "ready") {
			return kill
		}
	}
	t.Fatal("the process ended too early")
	return nil
}

// inStoreProcess returns the store that the parent process gave, and the end of
// that parent.
func inStoreProcess(t *testing.T) (store fleetprov.DirStore, parentEnds <-chan struct{}) {
	t.Helper()
	path := os.Getenv(storeProcess)
	if path == "" {
		t.Skip("for the processes that other tests start")
	}
	ends := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ends)
	}()
	return fleetprov.DirStore(path), ends
}

func storeContents() (a, b []byte) {
	return bytes.Repeat([]byte("A"), 300_000), bytes.Repeat([]byte("B"), 200_000)
}

func TestDirStoreProcessThatWrites(t *testing.T) {
	store, parentEnds := inStoreProcess(t)
	a, b := storeContents()
	for i := 0; ; i++ {
		require.NoError(t, store.Put(context.Background(), "credentials.pem", a))
		require.NoError(t, store.Put(context.Background(), "credentials.pem", b))
		if i == 0 {
			os.Stdout.WriteString("ready\n")
		}
		select {
		case <-parentEnds:
			return
		default:
		}
	}
}

func TestDirStoreSurvivesKill(t *testing.T) {
	const (
		kills = 25
		limit = 2 * time.Second
	)
	store := newStore(t)
	a, b := storeContents()
	for start, i := time.Now(), 0; i < kills && time.Since(start) < limit; i++ {
		kill := startStoreProcess(t, "TestDirStoreProcessThatWrites", store)
		instant := time.NewTimer(rand.N(10 * time.Millisecond))
		<-instant.C
		kill()

		data, err := store.Get(provtest.Context(t), "credentials.pem")
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, a) || bytes.Equal(data, b), "torn: %d bytes", len(data))
		if i%2 == 0 { // every other time the next process has to cope
			require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", a))
			storeHoldsOnly(t, store, "credentials.pem")
		}
	}
}

func TestDirStoreProcessThatLocks(t *testing.T) {
	store, parentEnds := inStoreProcess(t)
	unlock, err := store.Lock(context.Background())
	require.NoError(t, err)
	os.Stdout.WriteString("ready\n")
	<-parentEnds
	require.NoError(t, unlock())
}

func TestDirStoreLockKeepsProcessesApart(t *testing.T) {
	store := newStore(t)
	kill := startStoreProcess(t, "TestDirStoreProcessThatLocks", store)

	ctx, cancel := context.WithTimeout(provtest.Context(t), 250*time.Millisecond)
	defer cancel()
	_, err := store.Lock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, string(store))
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("data")), "it is for Ensure, not for Put")

	kill()
	unlock, err := store.Lock(provtest.Context(t))
	require.NoError(t, err, "the lock ends with its process")
	require.NoError(t, unlock())
}
