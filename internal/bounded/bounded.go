// Package bounded makes calls that may not watch their context, such as those of a
// disk that hangs, and returns when the context ends all the same. A call that it
// leaves behind goes on in its goroutine until it ends by itself.
//
// A write that was left behind may still take effect. Until it has ended, other writes
// to the same place are refused, so that it cannot overwrite what is newer. Reads are
// not: they change nothing, and a device may be able to boot with what it can read.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// courtesy is how long a call has to return by itself once its context has ended. One
// that does is not taken for one that hangs.
const courtesy = 100 * time.Millisecond

// Call calls f, which changes nothing in a store that a later write could meet. Doing is
// for the error that says that it has not ended.
func Call(ctx context.Context, doing string, f func(context.Context) error) error {
	_, err := call(ctx, doing, f, func() {}, func(error) {})
	return err
}

// Read calls read, as Call does.
func Read[T any](ctx context.Context, doing string, read func(context.Context) (T, error)) (none T, err error) {
	var value T
	left, err := call(ctx, doing, func(ctx context.Context) (err error) {
		value, err = read(ctx)
		return err
	}, func() {}, func(error) {})
	if left {
		return none, err // value is still the call's
	}
	return value, err
}

// Write calls write, which writes name, unless a write under the same key was left
// behind. A key is compared with ==. A Write within another one counts for the key of
// that, too.
func Write(ctx context.Context, key any, name string, write func(context.Context) error) error {
	return change(ctx, key, "writing "+name, "write of "+name, write)
}

// Delete is Write for what deletes name.
func Delete(ctx context.Context, key any, name string, remove func(context.Context) error) error {
	return change(ctx, key, "deleting "+name, "deletion of "+name, remove)
}

func change(ctx context.Context, key any, doing, what string, write func(context.Context) error) error {
	if err := leftBehind.refusal(key); err != nil {
		return err
	}
	ctx, keys := withKey(ctx, key)
	w := &overdue{what: what}
	_, err := call(ctx, doing, write,
		func() { leftBehind.add(keys, w) },
		func(error) { leftBehind.remove(keys, w) })
	return err
}

// Lock calls lock, unless a write under the same key was left behind. A lock that is
// taken after ctx has ended is given up at once.
func Lock(ctx context.Context, key any, doing string, lock func(context.Context) (unlock func() error, err error)) (unlock func() error, err error) {
	if err := leftBehind.refusal(key); err != nil {
		return nil, err
	}
	var taken func() error
	left, err := call(ctx, doing, func(ctx context.Context) (err error) {
		taken, err = lock(ctx)
		return err
	}, func() {}, func(err error) {
		if err == nil {
			taken() // nobody is left who could be told of a failure
		}
	})
	if left {
		return nil, err // taken is still the call's
	}
	return taken, err
}

// Step is Read with an end of its own, also where ctx has none: see [WithStep]. It is
// for a call that waits for nobody. That end is [os.ErrDeadlineExceeded].
func Step[T any](ctx context.Context, doing string, read func(context.Context) (T, error)) (T, error) {
	timeout, ok := ctx.Value(stepKey{}).(time.Duration)
	if !ok {
		timeout = stepTimeout
	}
	step, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	value, err := Read(step, doing, read)
	if IsHang(err) && ctx.Err() == nil {
		err = fmt.Errorf("%s has not ended within %v: the store hangs: %w", doing, timeout, os.ErrDeadlineExceeded)
	}
	return value, err
}

// Overdue returns what write under key was left behind, and what is closed when it has
// ended. Nil says that there is none.
func Overdue(key any) (what string, ended <-chan struct{}) {
	if w := leftBehind.first(key); w != nil {
		return w.what, w.ended
	}
	return "", nil
}

// IsHang reports whether err says of a call that it was left behind.
func IsHang(err error) bool {
	var ended *endedError
	return errors.As(err, &ended) && ended.what != ""
}

// errExited is what becomes of a call that ends its goroutine.
var errExited = errors.New("it ended its goroutine instead of returning")

// call calls f until ctx ends, which it passes on, and reports whether it left f behind.
// Then leave was called, and late will be, with f's error, when f returns.
func call(ctx context.Context, doing string, f func(context.Context) error, leave func(), late func(error)) (left bool, err error) {
	if ctx.Err() != nil {
		return false, &endedError{end: ctx.Err(), cause: context.Cause(ctx)}
	}
	if ctx.Done() == nil {
		return false, f(ctx)
	}
	returned, gone := make(chan error), make(chan struct{})
	patience, within := withPatience(ctx)
	go func() {
		err := errExited
		defer func() {
			select {
			case returned <- err:
			case <-gone:
				late(err)
			}
		}()
		err = f(within)
	}()
	select {
	case err := <-returned:
		return false, err
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-returned:
		return false, err
	case <-timer.C:
	}
	leave()
	close(gone)
	return true, &endedError{doing + " has not ended: ", ctx.Err(), context.Cause(ctx)}
}

// endedError is the end of a context, before a call was begun or while it hung.
type endedError struct {
	what       string
	end, cause error
}

func (e *endedError) Error() string { return e.what + e.cause.Error() }

func (e *endedError) Unwrap() []error { return []error{e.end, e.cause} }
