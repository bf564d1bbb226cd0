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

// pollInterval is how often a waiting Lock looks. A system call that waits for a
// file lock cannot be given up when a context ends, so that there is none.
const pollInterval = 100 * time.Millisecond

// released makes what a goroutine did under a lock happen before what the next
// one does: a lock of the operating system is nothing to Go's memory model.
var released atomic.Uint64

// held holds every *flock.Flock that is locked: the garbage collector closes a file that
// nobody refers to, and with it goes the lock.
var held sync.Map

// Lock locks the file at path, which it makes if need be and never removes, and
// waits for whoever holds it until ctx ends. Every call excludes every other one,
// from the same process too. The lock ends with unlock or with the process,
// also when unlock is dropped. Calling unlock again does nothing.
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
