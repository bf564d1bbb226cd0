package privatedir

import "syscall"

// modelessMagic are the numbers by which statfs names file systems that keep no modes of
// their files (Linux, statfs(2) and the sources of its file systems).
var modelessMagic = map[uint32]string{
	0x4d44:     "FAT",
	0x2011bab0: "exFAT",
}

// modeless returns the name of the file system at path, if it is known to keep no modes.
func modeless(path string) string {
	var info syscall.Statfs_t
	if syscall.Statfs(path, &info) != nil {
		return ""
	}
	return modelessMagic[uint32(info.Type)]
}
