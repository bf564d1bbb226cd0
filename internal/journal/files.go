package journal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/backoff"
	"github.com/fleetprov/fleetprov/internal/diagnosis"
)

// Store is where the files are. It is the public interface of the same name.
type Store interface {
	Get(ctx context.Context, name string) ([]byte, error)
	Put(ctx context.Context, name string, data []byte) error
	Delete(ctx context.Context, name string) error
}

// Step makes do a step of provisioning: bounded in time, reported, and with a failure
// that says what was being done.
type Step func(ctx context.Context, doing string, do func(context.Context) error) error

// Files are the files of a store, each call of which is a step. They belong to one run.
type Files struct {
	Store Store
	Step  Step

	grace grace
}

// Read returns what is stored under name, or nil if there is nothing.
func (f *Files) Read(ctx context.Context, name string) (data []byte, err error) {
	err = f.Step(ctx, "reading "+name, func(ctx context.Context) error {
		data, err = f.Store.Get(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return data, err
}

// write writes once. It is for a time when AWS has given nothing yet that could be
// lost.
func (f *Files) write(ctx context.Context, name string, data []byte) error {
	return f.Step(ctx, "writing "+name, func(ctx context.Context) error { return f.Store.Put(ctx, name, data) })
}

// Keep writes what AWS gave. While it is in memory the write is tried again, until
// the step's time is up. The end of the caller's context leaves two seconds to all
// such writes of a run together.
func (f *Files) Keep(ctx context.Context, name string, data []byte) error {
	return f.persist(ctx, "writing "+name, func(ctx context.Context) error { return f.Store.Put(ctx, name, data) })
}

// Remove deletes a file as persistently as Keep writes one.
func (f *Files) Remove(ctx context.Context, name string) error {
	return f.persist(ctx, "deleting "+name, func(ctx context.Context) error { return f.Store.Delete(ctx, name) })
}

// SetAside keeps data that cannot be used under a name made of their digest: nobody
// knows what they are still good for.
func (f *Files) SetAside(ctx context.Context, data []byte) error {
	sum := sha256.Sum256(data)
	return f.write(ctx, fmt.Sprintf("damaged-%x.pem", sum[:8]), data)
}

// graceTime is how long the writes of what AWS gave may outlast the caller's context,
// all of them together: the caller waits for them.
const graceTime = 2 * time.Second

// grace is what is left of graceTime. It starts to run with the first write that the
// caller's context does not outlive. Any goroutine may ask for it.
type grace struct {
	start sync.Once
	end   time.Time
}

func (g *grace) left() time.Duration {
	g.start.Do(func() { g.end = time.Now().Add(graceTime) })
	return time.Until(g.end)
}

func (f *Files) persist(ctx context.Context, doing string, write func(context.Context) error) error {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if backoff.Sleep(lasting, f.grace.left()) {
			cancel()
		}
	})
	defer stop()
	if ctx.Err() != nil && f.grace.left() <= 0 {
		cancel() // the function above may be late
	}
	return f.Step(lasting, doing, func(lasting context.Context) error {
		return retry(ctx, lasting, write)
	})
}

// retry writes until it succeeds, lasting ends, or there is no time for another try:
// after the end of ctx there is only the try that is under way.
func retry(ctx, lasting context.Context, write func(context.Context) error) error {
	var failed error // why the store failed while it had time
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		err := write(lasting)
		if err == nil {
			return nil
		}
		if failed == nil || lasting.Err() == nil {
			failed = err
		}
		deadline, bounded := lasting.Deadline()
		if lasting.Err() == nil && !(bounded && time.Until(deadline) <= wait) && backoff.Sleep(ctx, wait) {
			continue
		}
		if ctx.Err() != nil && errors.Is(failed, context.Canceled) {
			return diagnosis.EndOf(ctx, ctx.Err())
		}
		return failed
	}
}
