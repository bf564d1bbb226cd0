package fleetprovtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/fleetprov/fleetprov/internal/filelock"
)

// KeepState keeps the server's state in a file, from which another server goes on
// later. It reads the file if there is one, and appends to it what happens from then
// on. The file holds the server's certificate authorities, its claim, the
// certificates issued with their tokens, the things, and how far the clock was
// moved; not the templates, the policies of [Server.AddPolicy], or anything set on
// Server. It contains private keys, and only its owner may read it. It grows with
// every change until KeepState is next called for it. A lock file beside it, whose
// name has .lock appended, keeps other servers from using it at the same time.
//
// It must be called before [Server.Start]. It fails if the file cannot be read or
// written, holds something else, or is in use. If writing fails later, that is
// logged.
func (s *Server) KeepState(path string) error {
	if err := s.keepState(path); err != nil {
		return fmt.Errorf("fleetprovtest: state: %w", err)
	}
	return nil
}

// stateFile is where a server keeps its state.
type stateFile struct {
	*os.File
	size   int64 // up to the end of the last whole line
	unlock func() error
}

func (s *Server) keepState(path string) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker.TLS != nil || s.state != nil {
		return errors.New("KeepState is to be called once, before Start")
	}
	unlock, err := lockState(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.restoreLocked(content); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	size, err := s.rewriteLocked(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	s.state = &stateFile{file, size, unlock}
	return nil
}

// lockTimeout is time enough for one try to take a lock, however busy the machine is.
const lockTimeout = 50 * time.Millisecond

// lockState keeps other servers from the file. It does not wait for them.
func lockState(path string) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	unlock, err = filelock.Lock(ctx, path+".lock")
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s: another server keeps it", path)
	}
	return unlock, err
}

// restoreLocked replays the lines of a file. It ignores what follows the last
// newline: a line that was being written when the server was killed. The first line
// is always whole, because a file gets its name after it was written.
func (s *Server) restoreLocked(content []byte) error {
	for number := 1; len(content) > 0; number++ {
		line, rest, complete := bytes.Cut(content, []byte("\n"))
		if !complete && number > 1 {
			break
		}
		var record stateRecord
		if err := json.Unmarshal(line, &record); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if number == 1 && record.Authority == nil {
			return errors.New("line 1: not the state of a server")
		}
		if err := s.replayLocked(record); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		content = rest
	}
	return nil
}

// rewriteLocked writes what there is to path, and returns how much that is.
func (s *Server) rewriteLocked(path string) (size int64, err error) {
	whole := path + ".new"
	os.Remove(whole) // left behind by a server that was killed
	if size, err = s.writeLocked(whole); err == nil {
		err = os.Rename(whole, path)
	}
	if err != nil {
		os.Remove(whole)
	}
	return size, err
}

func (s *Server) writeLocked(path string) (size int64, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := json.NewEncoder(file)
	for _, record := range s.recordsLocked() {
		if err := lines.Encode(record); err != nil {
			return 0, err
		}
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	return file.Seek(0, io.SeekCurrent)
}

func (s *Server) recordsLocked() []stateRecord {
	s.registry.expire(s.now())
	records := []stateRecord{{Authority: s.authority.record()}, {ClaimStatus: s.registry.claimStatus}}
	if ahead := s.ahead.Load(); ahead != 0 {
		records = append(records, stateRecord{Ahead: time.Duration(ahead)})
	}
	for name, document := range s.policies.inline {
		records = append(records, stateRecord{Policy: &policyRecord{name, document}})
	}
	for _, t := range s.registry.things {
		records = append(records, stateRecord{Thing: t})
	}
	for _, c := range s.registry.certificates {
		records = append(records, c.record())
	}
	return records
}

// keepLocked appends to the file, if there is one. A line that could not be written
// whole is taken back, so that the next one is not appended to half of it.
func (s *Server) keepLocked(r stateRecord) {
	if s.state == nil {
		return
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = s.state.Write(append(line, '\n'))
	}
	if err != nil {
		s.logger().Error("the state could not be written", "error", errors.Join(err, s.state.Truncate(s.state.size)))
		return
	}
	s.state.size += int64(len(line)) + 1
}

func (s *Server) closeState() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != nil {
		s.state.Close()
		s.state.unlock()
		s.state = nil
	}
}
