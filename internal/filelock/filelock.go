// Package filelock locks a file between processes and between goroutines.
package filelock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

// pollInterval is how often a waiting Lock tries again. It polls because a system call
// that waits for a file lock cannot be interrupted when a context ends.
const pollInterval = 100 * time.Millisecond

// released orders what one goroutine did under a lock before what the next one does:
// Go's memory model does not know the locks of the operating system.
var released atomic.Uint64

// Lock locks the file at path, which it creates if there is none and never removes. If
// the lock is held, it polls ten times a second until ctx ends. Every call excludes
// every other, also within the same process. The lock ends with unlock or with the
// process. Calling unlock again does nothing.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	lock := flock.New(path)
	if _, err := lock.TryLockContext(ctx, pollInterval); err != nil {
		return nil, fmt.Errorf("taking the lock %s: %w", path, err)
	}
	released.Load()
	return func() error {
		released.Add(1)
		return lock.Unlock()
	}, nil
}
