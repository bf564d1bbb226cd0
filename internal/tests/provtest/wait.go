package provtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is longer than anything here takes on a busy machine. What has not come by
// then does not come.
const patience = 2 * time.Minute

// Context returns a context that ends with the test, or after two minutes: a test that
// goes wrong fails then. In a bubble, where time is virtual, t.Context() does: a wait that
// nobody ends fails by itself, and an endpoint on pipes is not there for ever.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Wait receives from ch, and fails the test if nothing comes within two minutes.
func Wait[T any](t testing.TB, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(patience):
		require.Fail(t, "nothing has come")
	}
	return value
}
