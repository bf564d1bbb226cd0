package operator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/operator"
)

// cutter stands in front of a control plane and calls cut with the request of one number,
// counted from 1, once.
type cutter struct {
	next  http.Handler
	count atomic.Int64
	at    atomic.Int64 // 0: never
	cut   func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.count.Add(1) == c.at.Load() {
		c.cut(w, r, c.next)
		return
	}
	c.next.ServeHTTP(w, r)
}

// arm makes the request with that number, counted from now, the one that is cut.
func (c *cutter) arm(number int64) {
	c.count.Store(0)
	c.at.Store(number)
}

func deny(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("x-amzn-ErrorType", "AccessDeniedException")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, `{"message":"no"}`)
}

const lost = "the answer is lost, and the request repeated"

// cutoffs are ways in which a run ends early.
func cutoffs(cancel context.CancelFunc) map[string]func(http.ResponseWriter, *http.Request, http.Handler) {
	return map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"the request is refused": deny,
		"the program ends after the request": func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			cancel()
			panic(http.ErrAbortHandler)
		},
		lost: func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		},
	}
}

// attempt plans and runs until it succeeds, and returns how many requests that took when the
// first attempt did. The number's request is cut.
func attempt(t *testing.T, plan func(context.Context) (*operator.Plan, error), ctx context.Context) error {
	t.Helper()
	p, err := plan(ctx)
	if err != nil {
		return err
	}
	return p.Run(ctx, nil)
}

// Wherever a setup is cut off, the next one completes it, and the account is as after one
// that was not: nothing is there twice. Teardown, cut off in the same way, leaves nothing.
func TestCutOffRunsAreCompleted(t *testing.T) {
	noPython(t)
	for name := range cutoffs(nil) {
		t.Run(name, func(t *testing.T) {
			whole := newCutCloud(t, name)
			requests := whole.setup(t, 0)
			contents := whole.contents(t)
			require.Greater(t, requests, int64(30))
			removals := whole.teardown(t, 0)
			require.Greater(t, removals, int64(15))
			for number := int64(1); number <= max(requests, removals); number++ {
				c := newCutCloud(t, name)
				c.setup(t, number)
				require.Equal(t, contents, c.contents(t), "setup was cut off at request %d", number)
				c.teardown(t, number)
				require.Empty(t, c.contents(t), "teardown was cut off at request %d", number)
			}
		})
	}
}

// cutCloud is an account whose requests are cut off in one way.
type cutCloud struct {
	*cloud
	cutter  *cutter
	account *operator.Account
	cancel  context.CancelFunc // of the run under way
	setting operator.Setup
	repeats bool // the SDK repeats the request, and need not stop
}

func newCutCloud(t *testing.T, way string) *cutCloud {
	t.Helper()
	c := &cutCloud{repeats: way == lost}
	c.cloud = newCloud(t, func(next http.Handler) http.Handler {
		c.cutter = &cutter{next: next, cut: cutoffs(func() { c.cancel() })[way]}
		return c.cutter
	})
	c.account = c.open(t)
	c.setting = operator.Setup{SerialNumbers: []string{"0001"}, ClaimFile: filepath.Join(t.TempDir(), "claim.pfx")}
	return c
}

func (c *cutCloud) setup(t *testing.T, number int64) int64 {
	t.Helper()
	return c.completed(t, number, func(ctx context.Context) (*operator.Plan, error) {
		return c.account.PlanSetup(ctx, c.setting)
	})
}

func (c *cutCloud) teardown(t *testing.T, number int64) int64 {
	t.Helper()
	return c.completed(t, number, func(ctx context.Context) (*operator.Plan, error) {
		return c.account.PlanTeardown(ctx, c.setting, false)
	})
}

// completed runs a plan whose request with that number is cut, and runs it again. It returns
// how many requests the first run made.
func (c *cutCloud) completed(t *testing.T, number int64, plan func(context.Context) (*operator.Plan, error)) int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	c.cancel = cancel
	c.cutter.arm(number)
	err := attempt(t, plan, ctx)
	requests := c.cutter.count.Load()
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	if c.repeats && err != nil {
		require.ErrorContains(t, err, "iot:CreateCertificateFromCsr", "all other requests can be repeated")
	}
	c.cutter.arm(0)
	require.NoError(t, attempt(t, plan, deadline(t)), "after %v", err)
	last, err := plan(deadline(t))
	require.NoError(t, err)
	assert.Empty(t, whats(last))
	return requests
}
