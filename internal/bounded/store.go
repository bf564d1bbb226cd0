package bounded

import (
	"bytes"
	"context"
	"reflect"
)

// store is the public interface Store.
type store interface {
	Get(ctx context.Context, name string) ([]byte, error)
	Put(ctx context.Context, name string, data []byte) error
	Delete(ctx context.Context, name string) error
}

// Store is a store whose calls return when their context ends.
type Store struct {
	store store
	key   any
}

// New returns s with bounds. Stores that are equal know of each other's writes. One
// that cannot be compared is known only by the Store that New returns for it.
func New(s store) *Store {
	b := &Store{store: s}
	if b.key = b; reflect.ValueOf(s).Comparable() {
		b.key = s
	}
	return b
}

// Get returns what is stored under name.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	return Read(ctx, "reading "+name, func(ctx context.Context) ([]byte, error) { return s.store.Get(ctx, name) })
}

// Put stores a copy of data, which the caller may change even if Put left it behind.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	data = bytes.Clone(data)
	return Write(ctx, s.key, name, func(ctx context.Context) error { return s.store.Put(ctx, name, data) })
}

// Delete deletes what is stored under name.
func (s *Store) Delete(ctx context.Context, name string) error {
	return Delete(ctx, s.key, name, func(ctx context.Context) error { return s.store.Delete(ctx, name) })
}

// Lock takes the store's lock with lock, which is a method of the store.
func (s *Store) Lock(ctx context.Context, lock func(context.Context) (unlock func() error, err error)) (unlock func() error, err error) {
	return Lock(ctx, s.key, "taking the lock", lock)
}

// Overdue returns what write in the store was left behind: see [Overdue].
func (s *Store) Overdue() (what string, ended <-chan struct{}) { return Overdue(s.key) }
