package privatedir

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxFileSize is the largest file, in bytes.
const maxFileSize = 1 << 20

var errTooLarge = &refusal{fs.ErrInvalid, fmt.Sprintf("more than %d bytes", maxFileSize)}

// Read returns the content of the file name. The error wraps [fs.ErrNotExist] if there
// is none.
func (d *Dir) Read(name string) ([]byte, error) {
	data, err := d.read(name)
	if err != nil {
		return nil, explain("read", d.file(name), err)
	}
	return data, nil
}

func (d *Dir) read(name string) ([]byte, error) {
	if err := d.checkRegular(name); err != nil {
		return nil, err
	}
	file, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, errTooLarge
	}
	return data, nil
}

// Write replaces the content of the file name by data. When it returns nil, the data are
// on the disk. When it fails or never returns, the file has the old content or the new,
// whole. Only one Write in a directory may run at a time: it takes a temporary file that
// it finds for one left by a crash, and removes it.
func (d *Dir) Write(name string, data []byte) error {
	if err := d.write(name, data); err != nil {
		return explain("write", d.file(name), err)
	}
	return nil
}

func (d *Dir) write(name string, data []byte) error {
	if len(data) > maxFileSize {
		return errTooLarge
	}
	if err := d.checkRegular(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := d.writeTemporary(data)
	if err == nil {
		err = d.root.Rename(temporaryName, name)
	}
	if err != nil {
		d.root.Remove(temporaryName)
		return err
	}
	return d.sync()
}

func (d *Dir) writeTemporary(data []byte) error {
	if err := d.root.Remove(temporaryName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := d.create(temporaryName)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return cmp.Or(err, file.Close())
}

// create creates the file name, which must not exist.
func (d *Dir) create(name string) (*os.File, error) {
	const ownerOnly = 0o600
	file, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, ownerOnly)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(ownerOnly); err != nil { // a umask may have taken more away
		file.Close()
		return nil, err
	}
	return file, nil
}

// MakeLockFile creates the empty file name if there is none, and returns its path.
func (d *Dir) MakeLockFile(name string) (path string, err error) {
	err = d.checkRegular(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.makeEmpty(name)
	}
	if err != nil {
		return "", explain("create", d.file(name), err)
	}
	return d.file(name), nil
}

func (d *Dir) makeEmpty(name string) error {
	file, err := d.create(name)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// Remove removes the file name, if there is one. When it returns nil, the removal is on
// the disk.
func (d *Dir) Remove(name string) error {
	if err := d.remove(name); err != nil {
		return explain("remove", d.file(name), err)
	}
	return nil
}

func (d *Dir) remove(name string) error {
	err := d.checkRegular(name)
	if err == nil {
		err = d.root.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync() // even if there was none: an earlier Remove may have crashed before this line
}
