//go:build unix

package privatedir

import (
	"errors"
	"os"
	"syscall"
)

// syncDirectory makes the entries of directory durable. There are file systems
// that cannot be told to, and say so with EINVAL (POSIX, fsync) or that it is
// not supported.
func syncDirectory(directory *os.File) error {
	err := directory.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
