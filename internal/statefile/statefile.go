// Package statefile keeps the state of a server in a file of JSON lines: the first lines
// are the state at some time, and each further line is a change since then. The file is
// meant for one server at a time and for its owner's eyes only, since it may hold keys.
package statefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/filelock"
)

// File is a file that this process keeps state in. It is to be used in this order:
// [Open], [File.Read], [File.Rewrite], any number of [File.Append] from any goroutine,
// [File.Close].
type File struct {
	path   string
	unlock func() error // ends the lock beside the file

	mu       sync.Mutex // guards what follows, and the order of lines
	appended *os.File   // nil before Rewrite and after Close
	size     int64      // up to the end of the last whole line
}

// lockTimeout is enough for a single try to take a lock, however busy the machine is.
const lockTimeout = 50 * time.Millisecond

// Open takes the lock for the file, which need not exist. The lock is another file, of
// the same name with .lock appended. Open fails at once if another server has it.
func Open(path string) (*File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	unlock, err := filelock.Lock(ctx, path+".lock")
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s: another server is using it", path)
	}
	if err != nil {
		return nil, err
	}
	return &File{path: path, unlock: unlock}, nil
}

// Read calls replay with each line, in order, until it fails. It ignores what follows the
// last newline, because that is a line that was being written when a server was killed.
// The first line is never such a half: see [File.Rewrite]. A file that does not exist has
// no lines. The error names the file and the line.
func (f *File) Read(replay func(number int, line []byte) error) error {
	content, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for number := 1; len(content) > 0; number++ {
		line, rest, complete := bytes.Cut(content, []byte("\n"))
		if !complete && number > 1 {
			break
		}
		if err := replay(number, line); err != nil {
			return fmt.Errorf("%s: line %d: %w", f.path, number, err)
		}
		content = rest
	}
	return nil
}

// Rewrite replaces the file with one of these lines. A server that is killed meanwhile
// leaves the old file as it was, and perhaps a second one with .new appended to its name.
func (f *File) Rewrite(lines []any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	whole := f.path + ".new"
	os.Remove(whole) // left behind by a server that was killed
	size, err := writeLines(whole, lines)
	if err == nil {
		err = os.Rename(whole, f.path)
	}
	if err != nil {
		os.Remove(whole)
		return err
	}
	f.appended, err = os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	f.size = size
	return err
}

// writeLines makes a file that only its owner may read, and returns its size.
func writeLines(path string, lines []any) (size int64, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	encoder := json.NewEncoder(file)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return 0, err
		}
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	return file.Seek(0, io.SeekCurrent)
}

// Append adds a line. If it cannot be written whole, Append takes back what was written,
// so that the next line does not follow half of this one.
func (f *File) Append(line any) error {
	encoded, err := json.Marshal(line)
	if err != nil {
		return err
	}
	encoded = append(encoded, '\n')
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.appended == nil {
		return os.ErrClosed
	}
	if _, err := f.appended.Write(encoded); err != nil {
		return errors.Join(err, f.appended.Truncate(f.size))
	}
	f.size += int64(len(encoded))
	return nil
}

// Close closes the file and gives up the lock.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if f.appended != nil {
		err = f.appended.Close()
		f.appended = nil
	}
	return errors.Join(err, f.unlock())
}
