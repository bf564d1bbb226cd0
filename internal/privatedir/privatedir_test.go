package privatedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func openTest(t *testing.T) (d *Dir, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store")
	d, err := Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d, path
}

func TestWriteTakesAwayWhatACrashLeft(t *testing.T) {
	for name, leave := range map[string]func(path string) error{
		"half a file": func(path string) error {
			return os.WriteFile(path, []byte("half"), 0o600)
		},
		"a file that cannot be written": func(path string) error {
			return os.WriteFile(path, []byte("half"), 0)
		},
		"a link to a file elsewhere": func(path string) error {
			elsewhere := filepath.Join(filepath.Dir(filepath.Dir(path)), "elsewhere")
			return errors.Join(os.WriteFile(elsewhere, []byte("theirs"), 0o600), os.Symlink(elsewhere, path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, path := openTest(t)
			require.NoError(t, leave(filepath.Join(path, ".new")))

			require.NoError(t, d.Write("credentials.pem", []byte("whole")))

			entries, err := os.ReadDir(path)
			require.NoError(t, err)
			require.Len(t, entries, 1, "only what was written is there")
			data, err := d.Read("credentials.pem")
			require.NoError(t, err)
			assert.Equal(t, "whole", string(data))
			if theirs, err := os.ReadFile(filepath.Join(filepath.Dir(path), "elsewhere")); err == nil {
				assert.Equal(t, "theirs", string(theirs))
			}
		})
	}
}

func TestAFailedWriteLeavesTheOldContentAndNoTemporary(t *testing.T) {
	d, path := openTest(t)
	require.NoError(t, d.Write("credentials.pem", []byte("old")))
	require.NoError(t, os.Mkdir(filepath.Join(path, "taken"), 0o700))

	for name, err := range map[string]error{
		"too large":                   d.Write("credentials.pem", make([]byte, maxFileSize+1)),
		"in the place of a directory": d.Write("taken", []byte("new")),
		"where a rename cannot go":    d.write("missing/file", []byte("new")),
	} {
		assert.Error(t, err, name)
	}
	data, err := d.Read("credentials.pem")
	require.NoError(t, err)
	assert.Equal(t, "old", string(data))
	assert.NoFileExists(t, filepath.Join(path, ".new"))
}

func TestTheDirectoryStaysTheSameWhenItsPathIsTaken(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open directory cannot be renamed on Windows")
	}
	d, path := openTest(t)
	require.NoError(t, os.Rename(path, path+"-moved"))
	require.NoError(t, os.Mkdir(path, 0o755))

	require.NoError(t, d.Write("credentials.pem", []byte("secret")))

	assert.NoFileExists(t, filepath.Join(path, "credentials.pem"))
	assert.FileExists(t, filepath.Join(path+"-moved", "credentials.pem"))
}

func TestErrorsNameThePathAndWhatToDo(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "openat", Path: ".new", Err: syscall.ENOSPC}, "make room"},
		{&os.LinkError{Op: "renameat", Old: ".new", New: "a.pem", Err: syscall.EDQUOT}, "make room"},
		{&fs.PathError{Op: "openat", Path: ".new", Err: syscall.EROFS}, "remount it"},
		{&fs.PathError{Op: "openat", Path: ".new", Err: syscall.EACCES}, "own the directory"},
		{&fs.PathError{Op: "fsync", Path: ".new", Err: syscall.EIO}, syscall.EIO.Error()},
		{&refusal{fs.ErrPermission, "others can write"}, "others can write"},
	} {
		err := explain("write", "/data/a.pem", row.err)

		assert.True(t, strings.HasPrefix(err.Error(), "write /data/a.pem: "), err)
		assert.ErrorContains(t, err, row.want)
		assert.NotContains(t, err.Error(), ".new")
		var path *fs.PathError
		require.ErrorAs(t, err, &path)
		assert.Equal(t, "/data/a.pem", path.Path)
		assert.ErrorIs(t, row.err, path.Err, "the system's own error survives")
	}
}

func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"credentials.pem", "damaged-0123456789abcdef.pem", "", ".", "..", ".new", "a/b", `a\b`, "/a", "c:a", "a\x00b", "NUL"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if err := CheckName(name); err != nil {
			require.ErrorIs(t, err, fs.ErrInvalid)
			return
		}
		require.Equal(t, filepath.Join("store", name), "store"+string(filepath.Separator)+name)
		require.Equal(t, "store", filepath.Dir(filepath.Join("store", name)), "it stays in the directory")
		require.NotEqual(t, temporaryName, name)
	})
}
