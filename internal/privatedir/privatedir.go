// Package privatedir keeps small secret files in a directory that nobody else can
// write to. A file is there whole or not at all, even after a crash.
package privatedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir is an open directory. It stays the same directory when its path is renamed.
type Dir struct {
	root *os.Root
	path string
}

// Open opens the directory at path. The error wraps [fs.ErrNotExist] if there is none.
// On Unix, Open refuses with [fs.ErrPermission] a directory that anyone except root
// and the user of this process can write to.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, explain("open", path, err)
	}
	info, err := root.Stat(".")
	if err == nil {
		err = checkPrivate(path, info)
	}
	if err != nil {
		root.Close()
		return nil, explain("open", path, err)
	}
	return &Dir{root, filepath.Clean(path)}, nil
}

// Create opens the directory at path, and creates it if there is none. It does not
// create the parent: if that is missing, its file system is probably not mounted, and
// what was written there would be gone at the next boot.
func Create(path string) (*Dir, error) {
	d, err := Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirectory(path); err != nil {
			return nil, err
		}
		d, err = Open(path)
	}
	if err != nil {
		return nil, err
	}
	if err := d.persist(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// makeDirectory creates the directory. It is no error if another process has just done
// so.
func makeDirectory(path string) error {
	const ownerOnly = 0o700
	err := os.Mkdir(path, ownerOnly)
	if err == nil {
		err = os.Chmod(path, ownerOnly) // a umask may have taken more away
	}
	if err == nil {
		err = checkMade(path)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the directory above it must exist: is its file system mounted?", explain("mkdir", path, err))
	default:
		return explain("mkdir", path, err)
	}
}

// persist syncs the parent of an empty directory, so that the directory itself survives
// a crash: the process that created it may have ended before it could.
func (d *Dir) persist() error {
	self, err := d.root.Open(".")
	if err != nil {
		return explain("open", d.path, err)
	}
	defer self.Close()
	switch _, err := self.Readdirnames(1); {
	case err == nil:
		return nil
	case !errors.Is(err, io.EOF):
		return explain("read", d.path, err)
	}
	parent, err := os.Open(filepath.Dir(d.path))
	if errors.Is(err, fs.ErrPermission) {
		return nil // a parent that cannot be listed cannot be synced either
	}
	if err != nil {
		return explain("open", filepath.Dir(d.path), err)
	}
	defer parent.Close()
	if err := syncDirectory(parent); err != nil {
		return explain("sync", parent.Name(), err)
	}
	return nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// checkRegular refuses anything that is not a regular file, including a symbolic link.
// Nobody else can replace the file between the check and its use, since nobody else
// can write to the directory.
func (d *Dir) checkRegular(name string) error {
	info, err := d.root.Lstat(name)
	switch {
	case err != nil || info.Mode().IsRegular():
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return &refusal{fs.ErrInvalid, "this is a symbolic link: put the file itself there"}
	default:
		return &refusal{fs.ErrInvalid, fmt.Sprintf("this is not a file (type %v): remove it", info.Mode().Type())}
	}
}

// sync makes changes to the directory's entries durable.
func (d *Dir) sync() error {
	self, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer self.Close()
	return syncDirectory(self)
}
