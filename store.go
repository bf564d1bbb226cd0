package fleetprov

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fleetprov/fleetprov/internal/bounded"
	"github.com/fleetprov/fleetprov/internal/filelock"
	"github.com/fleetprov/fleetprov/internal/privatedir"
)

// Store is where a device keeps its credentials, and what it needs to go on with
// provisioning after a crash. [DirStore] is one. A name is that of a file, such
// as credentials.pem: letters, digits, dots and dashes. The data are secret,
// and mostly 4 to 8 KiB. The largest is the proof, before a provisioning, that the
// store takes them: 16 KiB, and as much again as the credentials that are replaced. All
// methods are called concurrently.
//
// A method should return when its ctx ends. One that has not returned 0.1 s later
// is left behind in its goroutine. While that is a Put or a Delete, Put, Delete and
// Lock of an equal Store (by ==) are not called: it could undo what they do.
type Store interface {
	// Get returns what was put under name. Its error wraps [fs.ErrNotExist] if
	// there is nothing, and only then.
	Get(ctx context.Context, name string) ([]byte, error)

	// Put stores data under name, in place of what was there. When it returns
	// nil the data are durable: they are there after a power failure. If it
	// fails, or the power does, what was there or the new data are there, whole.
	Put(ctx context.Context, name string, data []byte) error

	// Delete removes what was put under name, durably. It returns nil if there
	// is nothing.
	Delete(ctx context.Context, name string) error
}

// Locker is a [Store] that more than one process or goroutine may use to
// provision the same device. Those without it must be left to one at a time. The
// lock is kept while a Put or Delete that was left behind has not ended.
type Locker interface {
	// Lock waits until nobody else holds the lock, or until ctx ends, and
	// returns what gives it up. The lock ends with the process at the latest.
	// Get, Put and Delete do not wait for it.
	Lock(ctx context.Context) (unlock func() error, err error)
}

// The names that are used in a Store. Besides these there is the journal,
// pending.pem, and data that could not be used go to damaged-<hash>.pem: see package
// internal/journal.
const (
	credentialsName = "credentials.pem"
	previousName    = "previous.pem"
)

// DirStore is a [Store] and a [Locker] in the directory of that path, one file a
// name. It must be on a disk that outlives a reboot, and local: locks of network
// file systems cannot be relied on.
//
// The first Put or Lock makes the directory with mode 0700, but not the one above
// it: if that is missing, its file system is probably not mounted yet. A directory
// that is there already must be writable only by its owner, who must be the user
// of this process or root; the error is [fs.ErrPermission] otherwise. On a volume
// that its group can write, such as one of Kubernetes with an fsGroup, a directory
// below it will do.
//
// Files have mode 0600, except where the mount decides, as on FAT: mount that with
// umask=077. They hold at most 1 MiB. Put writes a temporary file,
// syncs it, renames it and syncs the directory, so that a crash at any time
// leaves the old content or the new; what is left of a temporary file goes with
// the next Put. Symbolic links and anything else in the place of a file are
// refused with [fs.ErrInvalid], as are names that have separators, a colon or a
// leading dot.
//
// Lock is flock on the file .lock in the directory, or LockFileEx on Windows. A
// waiter polls ten times a second. The files .lock and .write-lock stay. Another
// holder is waited for until ctx ends; a disk that hangs while .lock is made fails the
// call after 30 seconds, or the [WithStepTimeout] of the run that makes it.
//
// Every method returns within 0.1 s of the end of its ctx, although the disk hangs;
// the error wraps the context's and says what has not ended. What hangs goes on in
// its goroutine. A Put or Delete that does may still take effect: until it has ended,
// Put, Delete and Lock of this process in the same directory fail at once, with an
// error that names it. In other processes Put waits for it. Get is not held up.
//
// The errors of the operating system can be asked for with [errors.Is]: a full
// disk is ENOSPC, a read-only one EROFS.
//
// On Windows the directory's access control list says who can read and write; it
// is inherited from the directory above, and is not checked. Windows gives no way
// to sync a directory: after a power failure the old content may be back although
// Put returned nil, or a deleted file may.
type DirStore string

// Files of DirStore's own. Their leading dot keeps them apart from any name.
const (
	lockFile      = ".lock"
	writeLockFile = ".write-lock"
)

// Get implements [Store].
func (s DirStore) Get(ctx context.Context, name string) ([]byte, error) {
	if err := cmp.Or(s.check(ctx), privatedir.CheckName(name)); err != nil {
		return nil, err
	}
	return bounded.Read(ctx, "reading "+s.path(name), func(context.Context) ([]byte, error) { return s.get(name) })
}

func (s DirStore) get(name string) ([]byte, error) {
	dir, err := privatedir.Open(string(s))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Read(name)
}

// Put implements [Store]. It waits, until ctx ends, for other calls of Put in the
// same directory, and makes the directory if there is none.
func (s DirStore) Put(ctx context.Context, name string, data []byte) error {
	if err := cmp.Or(s.check(ctx), privatedir.CheckName(name)); err != nil {
		return err
	}
	data = bytes.Clone(data) // a write that hangs outlasts the call
	return bounded.Write(ctx, s.key(), s.path(name), func(ctx context.Context) error { return s.put(ctx, name, data) })
}

func (s DirStore) put(ctx context.Context, name string, data []byte) error {
	dir, err := privatedir.Create(string(s))
	if err != nil {
		return err
	}
	defer dir.Close()
	unlock, err := lock(ctx, dir, writeLockFile)
	if err != nil {
		return err
	}
	defer unlock()
	if err := ctx.Err(); err != nil { // the disk hung until now, and others may have written
		return err
	}
	return dir.Write(name, data)
}

// Delete implements [Store]. It waits for nothing and needs no room on the disk.
func (s DirStore) Delete(ctx context.Context, name string) error {
	if err := cmp.Or(s.check(ctx), privatedir.CheckName(name)); err != nil {
		return err
	}
	return bounded.Delete(ctx, s.key(), s.path(name), func(ctx context.Context) error { return s.remove(ctx, name) })
}

func (s DirStore) remove(ctx context.Context, name string) error {
	dir, err := privatedir.Open(string(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	return dir.Remove(name)
}

// Lock implements [Locker]. It makes the directory if there is none. The lock ends
// with unlock or with the process, also when unlock is dropped. Calling unlock again
// does nothing.
func (s DirStore) Lock(ctx context.Context) (unlock func() error, err error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return bounded.Lock(ctx, s.key(), s.locking(), s.lock)
}

func (s DirStore) locking() string { return "taking the lock " + s.path(lockFile) }

func (s DirStore) lock(ctx context.Context) (unlock func() error, err error) {
	path, err := bounded.Step(ctx, s.locking(), s.makeLockFile)
	if err != nil {
		return nil, err
	}
	return filelock.Lock(ctx, path)
}

func (s DirStore) makeLockFile(context.Context) (path string, err error) {
	dir, err := privatedir.Create(string(s))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	return dir.MakeLockFile(lockFile)
}

// check looks at what no operation can do without.
func (s DirStore) check(ctx context.Context) error {
	if s == "" {
		return fmt.Errorf("%w: an empty DirStore: it needs the path of a directory", fs.ErrInvalid)
	}
	return ctx.Err()
}

// key is the directory by which a write that hangs is known.
func (s DirStore) key() DirStore { return DirStore(filepath.Clean(string(s))) }

func (s DirStore) path(name string) string { return filepath.Join(string(s), name) }

func lock(ctx context.Context, dir *privatedir.Dir, name string) (unlock func() error, err error) {
	path, err := dir.MakeLockFile(name)
	if err != nil {
		return nil, err
	}
	return filelock.Lock(ctx, path)
}
