package crash_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// ownMounts are the attributes of a process whose mounts nobody else sees, and
// which end with it. Who is not root becomes root of a namespace.
func ownMounts() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return attributes
}

// smallDisk mounts a disk of 64 KiB at disk, and returns a store on it and what
// mounts it again.
func smallDisk(t *testing.T, disk string) (store fleetprov.DirStore, remount func(flags uintptr)) {
	t.Helper()
	const options = "size=64k,mode=0700"
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, options); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	return fleetprov.DirStore(filepath.Join(disk, "store")), func(flags uintptr) {
		require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|flags, options))
	}
}

func TestDirStoreOnAFullDisk(t *testing.T) {
	directory := inOwnProcess(t, ownMounts())
	if directory == "" {
		return
	}
	store, _ := smallDisk(t, directory)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
	require.NoError(t, store.Put(provtest.Context(t), "previous.pem", make([]byte, 30_000)))

	err := store.Put(provtest.Context(t), "credentials.pem", make([]byte, 60_000))

	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.ErrorContains(t, err, filepath.Join(string(store), "credentials.pem"))
	assert.ErrorContains(t, err, "make room")
	storeHas(t, store, "credentials.pem", "old")
	storeHoldsOnly(t, store, "credentials.pem", "previous.pem")

	require.NoError(t, store.Delete(provtest.Context(t), "previous.pem"), "Delete works on a full disk: it makes room")
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", make([]byte, 30_000)))
}

func TestDirStoreOnADiskThatWasFullBefore(t *testing.T) {
	directory := inOwnProcess(t, ownMounts())
	if directory == "" {
		return
	}
	store, _ := smallDisk(t, directory)
	filler, err := os.Create(filepath.Join(filepath.Dir(string(store)), "filler"))
	require.NoError(t, err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, filler.Close())

	require.ErrorIs(t, store.Put(provtest.Context(t), "pending.pem", []byte("first")), syscall.ENOSPC)

	_, err = store.Get(provtest.Context(t), "pending.pem")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.Remove(filler.Name()))
	require.NoError(t, store.Put(provtest.Context(t), "pending.pem", []byte("first")))
}

func TestDirStoreOnAReadOnlyDisk(t *testing.T) {
	directory := inOwnProcess(t, ownMounts())
	if directory == "" {
		return
	}
	store, remount := smallDisk(t, directory)
	missing := store + "-missing"
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
	remount(syscall.MS_RDONLY)

	_, lock := store.Lock(provtest.Context(t))
	_, firstLock := missing.Lock(provtest.Context(t))
	for call, err := range map[string]error{
		"Put":        store.Put(provtest.Context(t), "credentials.pem", []byte("new")),
		"Delete":     store.Delete(provtest.Context(t), "credentials.pem"),
		"Lock":       lock,
		"first Put":  missing.Put(provtest.Context(t), "credentials.pem", []byte("new")),
		"first Lock": firstLock,
	} {
		assert.ErrorIs(t, err, syscall.EROFS, call)
		assert.ErrorContains(t, err, "remount it", call)
	}
	storeHas(t, store, "credentials.pem", "old")
	require.NoError(t, missing.Delete(provtest.Context(t), "credentials.pem"))

	remount(0)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("new")))
	storeHas(t, store, "credentials.pem", "new")
}
