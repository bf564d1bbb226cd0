package fleetprov_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"sync"
)

// memStore is a Store in memory, whose content outlives a run as a disk's would.
type memStore struct {
	mu    sync.Mutex
	files map[string][]byte

	// fail, if set, is asked before each operation.
	fail func(op, name string) error
}

func newMemStore() *memStore { return &memStore{files: map[string][]byte{}} }

func (s *memStore) failure(op, name string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(op, name)
}

func (s *memStore) Get(ctx context.Context, name string) ([]byte, error) {
	if err := cmp.Or(ctx.Err(), s.failure("get", name)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return bytes.Clone(data), nil
}

func (s *memStore) Put(ctx context.Context, name string, data []byte) error {
	if err := cmp.Or(ctx.Err(), s.failure("put", name)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = bytes.Clone(data)
	return nil
}

func (s *memStore) Delete(ctx context.Context, name string) error {
	if err := cmp.Or(ctx.Err(), s.failure("delete", name)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, name)
	return nil
}

func (s *memStore) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.files {
		names = append(names, name)
	}
	return names
}

// lockedStore is a memStore that can be locked.
type lockedStore struct {
	*memStore
	held chan struct{}
}

func newLockedStore() *lockedStore {
	return &lockedStore{newMemStore(), make(chan struct{}, 1)}
}

func (s *lockedStore) Lock(ctx context.Context) (func() error, error) {
	select {
	case s.held <- struct{}{}:
		return func() error { <-s.held; return nil }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
