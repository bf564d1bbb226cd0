//go:build unix

package privatedir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkPrivate refuses a directory that others can write to. That includes its owner,
// and directories with a sticky bit, which only keeps others from removing files.
func checkPrivate(info fs.FileInfo) error {
	const othersWrite = 0o022
	if info.Mode()&othersWrite != 0 {
		return &refusal{fs.ErrPermission, fmt.Sprintf("others can write to this directory (mode %v): chmod 700 it", info.Mode())}
	}
	owner, user := int(info.Sys().(*syscall.Stat_t).Uid), os.Geteuid()
	if owner != user && owner != 0 {
		return &refusal{fs.ErrPermission, fmt.Sprintf("this directory belongs to user %d, but this program runs as user %d: chown it", owner, user)}
	}
	return nil
}
