package crash_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// soon is how long a call is given here, and late is when it must have returned: the
// machine may be busy, but less than what holds the call up.
const (
	soon = 100 * time.Millisecond
	late = 20 * time.Second
)

// holdUp makes every open of the file at path hang until release is called. It takes a
// lease on the file, which the system honours for as long as
// /proc/sys/fs/lease-break-time says (45 s), whatever the context of the caller says
// (Linux, fcntl(2), "Leases").
func holdUp(t *testing.T, path string) (release func()) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	lease := func(kind uintptr) syscall.Errno {
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_SETLEASE, kind)
		return errno
	}
	if errno := lease(syscall.F_WRLCK); errno != 0 {
		t.Skipf("no leases here: %v", errno)
	}
	release = sync.OnceFunc(func() {
		assert.Zero(t, lease(syscall.F_UNLCK))
		assert.NoError(t, file.Close())
	})
	t.Cleanup(release)
	return release
}

// hangs requires that call, which hangs, returns when its context ends and says what
// has not ended.
func hangs(t *testing.T, what string, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(provtest.Context(t), soon)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, what+" has not ended")
	require.Less(t, time.Since(start), late)
}

// mended polls until nothing is overdue in a store.
func mended(t *testing.T, store fleetprov.DirStore) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		require.NoError(t, store.Delete(context.Background(), "none.pem"))
	}, late, time.Millisecond)
}

// heldUp returns a store with credentials.pem, and makes every open of a file in it hang.
func heldUp(t *testing.T, name string) (store fleetprov.DirStore, release func()) {
	t.Helper()
	store = newStore(t)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
	unlock, err := store.Lock(provtest.Context(t))
	require.NoError(t, err)
	require.NoError(t, unlock())
	return store, holdUp(t, filepath.Join(string(store), name))
}

func TestDirStoreGetThatHangs(t *testing.T) {
	store, release := heldUp(t, "credentials.pem")
	hangs(t, "reading "+filepath.Join(string(store), "credentials.pem"), func(ctx context.Context) error {
		_, err := store.Get(ctx, "credentials.pem")
		return err
	})
	require.NoError(t, store.Put(provtest.Context(t), "pending.pem", nil), "it is in nobody's way")
	release()
	storeHas(t, store, "credentials.pem", "old")
}

func TestDirStorePutThatHangs(t *testing.T) {
	store, release := heldUp(t, ".write-lock")
	path := filepath.Join(string(store), "credentials.pem")
	hangs(t, "writing "+path, func(ctx context.Context) error { return store.Put(ctx, "credentials.pem", []byte("new")) })

	start := time.Now()
	_, lock := store.Lock(provtest.Context(t))
	for call, err := range map[string]error{
		"Put":                     store.Put(provtest.Context(t), "pending.pem", nil),
		"Put by another spelling": (store + "/").Put(provtest.Context(t), "pending.pem", nil),
		"Delete":                  store.Delete(provtest.Context(t), "pending.pem"),
		"Lock":                    lock,
	} {
		assert.ErrorContains(t, err, "an earlier write of "+path+" has not ended: the store hangs", call)
	}
	storeHas(t, store, "credentials.pem", "old")
	assert.Less(t, time.Since(start), late)

	release()
	mended(t, store)
	storeHas(t, store, "credentials.pem", "old") // it had not begun when its context ended
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("newer")))
	storeHas(t, store, "credentials.pem", "newer")
	storeHoldsOnly(t, store, "credentials.pem")
}

func TestDirStoreLockThatHangs(t *testing.T) {
	store, release := heldUp(t, ".lock")
	hangs(t, "taking the lock "+filepath.Join(string(store), ".lock"), func(ctx context.Context) error {
		_, err := store.Lock(ctx)
		return err
	})
	release()
	unlock, err := store.Lock(provtest.Context(t))
	require.NoError(t, err, "a lock that came too late was given up")
	require.NoError(t, unlock())
}

// freezableDisk mounts a disk of its own, and returns a store on it and what freezes
// and thaws it. Who writes to a frozen disk hangs in the kernel, where no signal
// reaches. It thaws by itself in time for this process to end.
func freezableDisk(t *testing.T) (store fleetprov.DirStore, freeze, thaw func()) {
	t.Helper()
	const (
		fifreeze = 0xc0045877 // Linux, include/uapi/linux/fs.h
		fithaw   = 0xc0045878
	)
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	image, disk := filepath.Join(t.TempDir(), "image"), t.TempDir()
	require.NoError(t, os.WriteFile(image, make([]byte, 4<<20), 0o600))
	for _, command := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, disk}} {
		if output, err := exec.CommandContext(provtest.Context(t), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no disk can be made here: %v: %s", err, output)
		}
	}
	root, err := os.Open(disk)
	require.NoError(t, err)
	control := func(request uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, root.Fd(), request, 0); errno != 0 {
			panic(errno)
		}
	}
	var frozen atomic.Bool
	freeze = func() {
		control(fifreeze)
		frozen.Store(true)
	}
	thaw = func() {
		if frozen.CompareAndSwap(true, false) {
			control(fithaw)
		}
	}
	tooLate := time.AfterFunc(time.Minute, thaw)
	t.Cleanup(func() {
		thaw()
		tooLate.Stop()
		assert.NoError(t, root.Close())
		assert.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH))
	})
	store = fleetprov.DirStore(filepath.Join(disk, "store"))
	return store, freeze, thaw
}

func TestDirStoreOnADiskThatIsFrozen(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	store, freeze, thaw := freezableDisk(t)
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
	path := func(name string) string { return filepath.Join(string(store), name) }
	for what, call := range map[string]func(context.Context) error{
		"writing " + path("credentials.pem"): func(ctx context.Context) error {
			return store.Put(ctx, "credentials.pem", []byte("new"))
		},
		"deleting " + path("credentials.pem"): func(ctx context.Context) error {
			return store.Delete(ctx, "credentials.pem")
		},
		"taking the lock " + path(".lock"): func(ctx context.Context) error {
			_, err := store.Lock(ctx)
			return err
		},
	} {
		require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("old")))
		freeze()
		hangs(t, what, call)
		storeHas(t, store, "credentials.pem", "old")
		thaw()
		mended(t, store)
	}
	require.NoError(t, store.Put(provtest.Context(t), "credentials.pem", []byte("newer")))
	storeHas(t, store, "credentials.pem", "newer")
}

// Another holder of the lock may be waited for without an end. A disk that hangs is not,
// whether the file of the lock is there or not.
func TestALockOnADiskThatIsFrozen(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	for name, lockFile := range map[string]bool{
		"at the first boot":    false,
		"after an earlier run": true,
	} {
		t.Run(name, func(t *testing.T) {
			store, freeze, thaw := freezableDisk(t)
			require.NoError(t, store.Put(provtest.Context(t), "none.pem", nil))
			if lockFile {
				unlock, err := store.Lock(provtest.Context(t))
				require.NoError(t, err)
				require.NoError(t, unlock())
			}
			provisioner := provtest.NewProvisioner(t, provtest.NewServer(t), fleetprov.WithStepTimeout(time.Second))
			freeze()
			start := time.Now()

			_, err := provisioner.Ensure(context.Background(), store, nil)

			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "that is the caller's")
			assert.ErrorContains(t, err, "has not ended")
			assert.NotContains(t, err.Error(), "another run")
			assert.Less(t, time.Since(start), late)
			t.Log(err)
			thaw()
			mended(t, store)
		})
	}
}

// A disk that freezes while Ensure writes holds it up for as long as two steps take,
// and costs nothing that AWS has given.
func TestEnsureOnADiskThatFreezesAtEachWrite(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	for at, row := range []diskRow{
		{name: "the proof"},
		{name: "the journal of Create", minted: true},
		{name: "the journal of RegisterThing", minted: true, accepted: true},
		{name: "the credentials", minted: true, accepted: true, journal: true},
		{name: "the end of the journal", minted: true, accepted: true, journal: true, isDelete: true},
	} {
		t.Run("at "+row.name, func(t *testing.T) {
			t.Parallel()
			dir, freeze, thaw := freezableDisk(t)
			server := provtest.NewServer(t)
			provisioner := provtest.NewProvisioner(t, server, fleetprov.WithGeneratedKey(), fleetprov.WithStepTimeout(time.Second))
			device := diskDevice{server, provisioner, nil}
			store := &diskStore{dir, sync.OnceFunc(freeze), at}

			start := time.Now()
			credentials, err := provisioner.Ensure(provtest.Context(t), store, nil)
			require.Error(t, err)
			assert.Less(t, time.Since(start), late)
			assert.Equal(t, row.minted, len(server.Certificates()) > 0)
			assert.Equal(t, row.accepted, credentials != nil, "what AWS accepted is returned")

			if !row.isDelete { // else credentials.pem is there, and can be read
				_, err = provisioner.Ensure(provtest.Context(t), store, nil)
				assert.ErrorContains(t, err, "has not ended: the store hangs")
			}
			thaw()
			mended(t, dir)
			again, err := provisioner.Ensure(provtest.Context(t), dir, nil)
			require.NoError(t, err)
			assert.Equal(t, []string{again.CertificateID}, device.active())
			if credentials != nil {
				assert.Equal(t, credentials, again)
			}
			stored, err := fleetprov.LoadCredentials(provtest.Context(t), dir)
			require.NoError(t, err)
			assert.Equal(t, again, stored)
		})
	}
}
