package privatedir

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFileSystemsThatKeepNoModesAreKnown(t *testing.T) {
	// The numbers are those of statfs(2) and of fs/exfat in Linux.
	assert.Equal(t, map[uint32]string{0x4d44: "FAT", 0x2011bab0: "exFAT"}, modelessMagic)
	assert.Empty(t, modeless(t.TempDir()))
	assert.Empty(t, modeless("/proc"))
	assert.Empty(t, modeless("/missing"))
}
