package provtest

import (
	"bytes"
	"sync"
)

// Screen is a buffer that can be read while a program prints to it.
type Screen struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.Write(p)
}

func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.String()
}
