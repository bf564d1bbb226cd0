//go:build unix

package privatedir

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatToDoAboutADirectoryThatOthersCanWrite(t *testing.T) {
	for name, row := range map[string]struct {
		owner, user int
		fileSystem  string
		want        []string
		not         string
	}{
		"of the program's user":               {owner: 1000, user: 1000, want: []string{"chmod 700 it"}},
		"of anybody, and the user is root":    {owner: 1000, user: 0, want: []string{"chmod 700 it"}},
		"a volume of root":                    {owner: 0, user: 1000, want: []string{"user 1000, cannot change that", "a directory below it, such as /data/fleetprov"}, not: "chmod"},
		"somebody else's":                     {owner: 1001, user: 1000, want: []string{"belongs to user 1001", "such as /data/fleetprov"}, not: "chmod"},
		"on FAT":                              {owner: 1000, user: 1000, fileSystem: "FAT", want: []string{"FAT, keeps no modes", "umask=077", "uid=1000"}, not: "chmod 700"},
		"of root on FAT, where nothing helps": {owner: 0, user: 1000, fileSystem: "FAT", want: []string{"FAT, keeps no modes"}, not: "below it"},
	} {
		advice := makePrivate("/data", row.owner, row.user, row.fileSystem)
		for _, want := range row.want {
			assert.Contains(t, advice, want, name)
		}
		if row.not != "" {
			assert.NotContains(t, advice, row.not, name)
		}
	}
}

// What mkdir and chmod have made private is not where modes are those of the mount.
func TestADirectoryThatChmodDoesNotChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.Mkdir(path, 0o700))
	require.NoError(t, checkMade(path))
	require.NoError(t, os.Chmod(path, 0o777))

	err := checkMade(path)

	assert.ErrorIs(t, err, fs.ErrPermission)
	assert.ErrorContains(t, err, "its file system keeps no modes")
}
