package provtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"sync"
)

// MemStore is a Store in memory, whose content outlives a run as a disk's would.
type MemStore struct {
	mu    sync.Mutex
	Files map[string][]byte

	// Fail, if set, is asked before each operation.
	Fail func(op, name string) error
}

func NewMemStore() *MemStore { return &MemStore{Files: map[string][]byte{}} }

// FailOn makes an operation fail, for files of every name if name is empty.
func (s *MemStore) FailOn(op, name string, err error) {
	s.Fail = func(o, n string) error {
		if o == op && (name == "" || n == name) {
			return err
		}
		return nil
	}
}

func (s *MemStore) failure(op, name string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(op, name)
}

func (s *MemStore) Get(ctx context.Context, name string) ([]byte, error) {
	if err := cmp.Or(ctx.Err(), s.failure("get", name)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.Files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return bytes.Clone(data), nil
}

func (s *MemStore) Put(ctx context.Context, name string, data []byte) error {
	if err := cmp.Or(ctx.Err(), s.failure("put", name)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Files[name] = bytes.Clone(data)
	return nil
}

func (s *MemStore) Delete(ctx context.Context, name string) error {
	if err := cmp.Or(ctx.Err(), s.failure("delete", name)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.Files, name)
	return nil
}

func (s *MemStore) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.Files {
		names = append(names, name)
	}
	return names
}

// LockedStore is a MemStore that can be locked.
type LockedStore struct {
	*MemStore
	held chan struct{}
}

func NewLockedStore() *LockedStore {
	return &LockedStore{NewMemStore(), make(chan struct{}, 1)}
}

func (s *LockedStore) Lock(ctx context.Context) (func() error, error) {
	select {
	case s.held <- struct{}{}:
		return func() error { <-s.held; return nil }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
