package provtest

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// NoGoroutineLeft polls until the client has ended all it started: it may still be
// saying goodbye when Provision returns.
func NoGoroutineLeft(t testing.TB) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "paho.mqtt.golang.") && !strings.Contains(all, "fleetprov/internal/mqttsession.") &&
			!strings.Contains(all, "fleetprov/internal/tlsdial.")
	}, 10*time.Second, 5*time.Millisecond, "goroutines are left:\n%s", stacks)
}
