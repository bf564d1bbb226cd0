package provtest

import (
	"regexp"
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
	tooLong := time.After(10 * time.Second)
	for {
		left := clientGoroutines()
		if len(left) == 0 {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-tooLong:
			require.Fail(t, "goroutines are left", "%s", strings.Join(left, "\n\n"))
		}
	}
}

// clientFrame matches a function of the root, of a package below internal, or of paho. In
// a stack, the dots of a path's last element are escaped.
var clientFrame = regexp.MustCompile(`(?m)^(?:created by )?(?:github\.com/fleetprov/fleetprov(?:/internal/(\w+))?|github\.com/eclipse/paho%2emqtt%2egolang)\.`)

// serverPackages are those below internal that a device does not link.
var serverPackages = map[string]bool{
	"broker": true, "controlplane": true, "iotpolicy": true, "iotregistry": true, "iotservice": true, "iottemplate": true,
	"pyfunction": true, "statefile": true, "strictjson": true, "testca": true,
}

// clientGoroutines returns the stacks of the goroutines that belong to the client.
func clientGoroutines() (left []string) {
	stacks := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		for _, frame := range clientFrame.FindAllStringSubmatch(stack, -1) {
			if !serverPackages[frame[1]] {
				left = append(left, stack)
				break
			}
		}
	}
	return left
}
