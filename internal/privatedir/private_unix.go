//go:build unix

package privatedir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkPrivate refuses a directory that others can write to. That includes its owner,
// and directories with a sticky bit, which only keeps others from removing files.
func checkPrivate(path string, info fs.FileInfo) error {
	owner, user := int(info.Sys().(*syscall.Stat_t).Uid), os.Geteuid()
	if othersCanWrite(info) {
		return &refusal{fs.ErrPermission, fmt.Sprintf("others can write to this directory (mode %v): %s", info.Mode(), makePrivate(path, owner, user, modeless(path)))}
	}
	if owner != user && owner != 0 {
		return &refusal{fs.ErrPermission, fmt.Sprintf("this directory belongs to user %d, but this program runs as user %d: chown it", owner, user)}
	}
	return nil
}

// checkMade refuses a directory that was made private just now, and is not.
func checkMade(path string) error {
	info, err := os.Stat(path)
	if err != nil || !othersCanWrite(info) {
		return err
	}
	return &refusal{fs.ErrPermission, fmt.Sprintf("others can write to this directory (mode %v): %s", info.Mode(), keepsNoModes("its file system", os.Geteuid()))}
}

func othersCanWrite(info fs.FileInfo) bool {
	const othersWrite = 0o022
	return info.Mode()&othersWrite != 0
}

// makePrivate says what to do about a directory that others can write, on a file system
// that is given if it keeps no modes. Volumes whose group may write, as those of
// Kubernetes with an fsGroup, are root's: no other user can chmod them.
func makePrivate(path string, owner, user int, fileSystem string) string {
	switch {
	case fileSystem != "":
		return keepsNoModes("its file system, "+fileSystem+",", user)
	case user == 0 || owner == user:
		return "chmod 700 it, or use a directory below it, such as " + filepath.Join(path, "fleetprov")
	default:
		return fmt.Sprintf("it belongs to user %d and this program, as user %d, cannot change that: use a directory below it, such as %s, which is made if there is none",
			owner, user, filepath.Join(path, "fleetprov"))
	}
}

// keepsNoModes says what to do about a file system whose modes are those of its mount.
func keepsNoModes(fileSystem string, user int) string {
	return fmt.Sprintf("%s keeps no modes, so that chmod does nothing: mount it with umask=077 and uid=%d, or use another one", fileSystem, user)
}
