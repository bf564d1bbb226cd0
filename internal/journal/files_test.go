package journal

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errBusy = errors.New("the flash is busy")

// until fails writes with errBusy before a time.
func until(recovers time.Time) func(context.Context, string, string) error {
	return func(context.Context, string, string) error {
		if time.Now().Before(recovers) {
			return errBusy
		}
		return nil
	}
}

// hangs takes its time for each operation, or hangs until its context ends.
func hangs(takes ...time.Duration) func(context.Context, string, string) error {
	return func(ctx context.Context, _, _ string) error {
		if len(takes) == 0 {
			<-ctx.Done()
			return ctx.Err()
		}
		wait := takes[0]
		takes = takes[1:]
		select {
		case <-time.After(wait):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestKeepTriesAgainUntilTheStepIsOver(t *testing.T) {
	for name, test := range map[string]struct {
		recovers time.Duration
		keeps    bool
		lasts    time.Duration
	}{
		"at once":          {0, true, 0},
		"after a moment":   {time.Second, true, 1500 * time.Millisecond}, // 0.1, 0.2, 0.4 and 0.8 seconds
		"after 20 seconds": {20 * time.Second, true, 25500 * time.Millisecond},
		"too late":         {time.Hour, false, 25500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, began := newDisk(), time.Now()
				d.before = until(began.Add(test.recovers))
				files := on(d)
				err := files.Keep(t.Context(), "credentials.pem", []byte("what AWS gave"))
				assert.Equal(t, test.lasts, time.Since(began))
				if test.keeps {
					require.NoError(t, err)
					assert.Equal(t, "what AWS gave", string(d.files["credentials.pem"]))
					return
				}
				assert.ErrorIs(t, err, errBusy)
				assert.ErrorContains(t, err, "writing credentials.pem")
			})
		})
	}
}

// Before AWS has given anything, a failure is told at once.
func TestOtherCallsAreMadeOnce(t *testing.T) {
	d := newDisk()
	d.before = until(time.Now().Add(time.Hour))
	files := on(d)
	_, err := files.Read(t.Context(), "credentials.pem")
	assert.ErrorIs(t, err, errBusy)
	assert.ErrorContains(t, err, "reading credentials.pem")
	assert.ErrorIs(t, files.SetAside(t.Context(), []byte("damaged")), errBusy)
	j := journalOn(d, false)
	assert.ErrorIs(t, j.Probe(t.Context(), nil, "", 0), errBusy)
	assert.Equal(t, []string{"get credentials.pem", "put damaged-41f0c27c00e8018f.pem", "put pending.pem"}, d.calls)
}

func TestReadOfNothing(t *testing.T) {
	files := on(newDisk())
	data, err := files.Read(t.Context(), "credentials.pem")
	require.NoError(t, err)
	assert.Nil(t, data)
}

// A step that ends while the store hangs tells what kept it before it hung.
func TestTheFirstReasonIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.before = func(ctx context.Context, _, _ string) error {
			if len(d.calls) == 1 {
				return errBusy
			}
			<-ctx.Done()
			return ctx.Err()
		}
		files := on(d)
		assert.ErrorIs(t, files.Keep(t.Context(), "credentials.pem", nil), errBusy)
	})
}

// All writes after the end of the caller's context have two seconds together.
func TestWritesShareTheGrace(t *testing.T) {
	for name, test := range map[string]struct {
		takes []time.Duration // by the store, which then hangs
		ends  time.Duration   // when the caller's context does
		kept  int             // how many of three writes
		lasts time.Duration   // after the end
	}{
		"a store that hangs":                      {nil, 0, 0, 2 * time.Second},
		"one that hangs when the context ends":    {nil, time.Second, 0, 2 * time.Second},
		"one that hangs in the second write":      {[]time.Duration{1500 * time.Millisecond}, 0, 1, 2 * time.Second},
		"one that is slow before and after":       {[]time.Duration{1500 * time.Millisecond, 1500 * time.Millisecond}, 2 * time.Second, 2, 2 * time.Second},
		"one that is quick enough":                {[]time.Duration{time.Second, 900 * time.Millisecond, 90 * time.Millisecond}, 0, 3, 1990 * time.Millisecond},
		"one that is quick enough and ends later": {[]time.Duration{time.Second, time.Second, time.Second}, 1500 * time.Millisecond, 3, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				d.before = hangs(test.takes...)
				ended := errors.New("the caller's reason")
				ctx, cancel := context.WithCancelCause(t.Context())
				began := time.Now()
				if test.ends == 0 {
					cancel(ended)
				}
				time.AfterFunc(test.ends, func() { cancel(ended) })
				files := on(d)
				kept := 0
				for range 3 {
					err := files.Keep(ctx, "credentials.pem", nil)
					if err == nil {
						kept++
						continue
					}
					assert.ErrorIs(t, err, context.Canceled)
					assert.ErrorIs(t, err, ended)
				}
				assert.Equal(t, test.kept, kept)
				assert.Equal(t, test.ends+test.lasts, time.Since(began))
				assert.Len(t, d.calls, 3, "each write is tried, if only once")
			})
		})
	}
}

// The end of one run's context is nothing to another run.
func TestEachRunHasItsOwnGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 2 {
			d := newDisk()
			d.before = hangs(1500 * time.Millisecond)
			files := on(d)
			require.NoError(t, files.Keep(ctx, "credentials.pem", nil))
		}
	})
}

// After the end of the caller's context no failed write is made again.
func TestNoSecondTryAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d := newDisk()
		d.before = until(time.Now().Add(time.Hour))
		j, began := journalOn(d, false), time.Now()
		assert.ErrorIs(t, j.Drop(ctx), errBusy)
		assert.Equal(t, []string{"delete pending.pem"}, d.calls)
		assert.Zero(t, time.Since(began))
	})
}

// The step's own time is the bound while the caller's context lasts.
func TestAStoreThatHangsEndsWithTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.before = hangs()
		files, began := on(d), time.Now()
		err := files.Keep(t.Context(), "credentials.pem", nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, stepTimeout, time.Since(began))
	})
}
