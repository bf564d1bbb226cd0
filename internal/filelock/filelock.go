// Package filelock locks a file between processes and between goroutines.
package filelock

import (
	"context"
	"fmt"
	"sync"
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

// held holds every *flock.Flock that is locked: the garbage collector closes a file that
// nobody refers to, and with it goes the lock.
var held sync.Map

// Lock locks the file at path, which it creates if there is none and never removes. If
// the lock is held, it polls ten times a second until ctx ends. Every call excludes
// every other, also within the same process. The lock ends with unlock or with the
// process, even if unlock is dropped. Calling unlock again does nothing.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	lock := flock.New(path)
	if _, err := lock.TryLockContext(ctx, pollInterval); err != nil {
		return nil, fmt.Errorf("taking the lock %s: %w", path, err)
	}
	released.Load()
	held.Store(lock, nil)
	return func() error {
		released.Add(1)
		err := lock.Unlock()
		if err == nil {
			held.Delete(lock)
		}
		return err
	}, nil
}
