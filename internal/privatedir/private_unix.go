//go:build unix

package privatedir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkPrivate refuses a directory that others can write: its owner can, and a
// sticky bit only keeps them from removing what is there.
func checkPrivate(info fs.FileInfo) error {
	const othersWrite = 0o022
	if info.Mode()&othersWrite != 0 {
		return &refusal{fs.ErrPermission, fmt.Sprintf("others can write this directory (mode %v): chmod 700 it", info.Mode())}
	}
	owner, user := int(info.Sys().(*syscall.Stat_t).Uid), os.Geteuid()
	if owner != user && owner != 0 {
		return &refusal{fs.ErrPermission, fmt.Sprintf("this directory belongs to user %d, but this program runs as user %d: chown it", owner, user)}
	}
	return nil
}
