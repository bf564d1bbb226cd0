//go:build unix

package privatedir

import (
	"errors"
	"os"
	"syscall"
)

// syncDirectory makes the entries of directory durable. Some file systems cannot sync a
// directory, and answer with EINVAL (POSIX, fsync) or ENOTSUP; that is not an error.
func syncDirectory(directory *os.File) error {
	err := directory.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
