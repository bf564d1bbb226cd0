package crash_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// diskStore is a store on a disk that fails from one write on.
type diskStore struct {
	fleetprov.DirStore
	fail   func()
	writes int // until then
}

func (s *diskStore) write() {
	if s.writes <= 0 {
		s.fail()
	}
	s.writes--
}

func (s *diskStore) Put(ctx context.Context, name string, data []byte) error {
	s.write()
	return s.DirStore.Put(ctx, name, data)
}

func (s *diskStore) Delete(ctx context.Context, name string) error {
	s.write()
	return s.DirStore.Delete(ctx, name)
}

// diskFailure is a way for a disk to fail, and to be mended.
type diskFailure struct {
	name        string
	errno       syscall.Errno
	fail, mend  func(*testing.T, fleetprov.DirStore, func(flags uintptr))
	takesDelete bool
}

func diskFailures() []diskFailure {
	return []diskFailure{{
		name:        "full",
		errno:       syscall.ENOSPC,
		takesDelete: true,
		fail: func(t *testing.T, store fleetprov.DirStore, _ func(uintptr)) {
			fillDisk(t, store, 0)
		},
		mend: func(t *testing.T, store fleetprov.DirStore, _ func(uintptr)) {
			require.NoError(t, os.Remove(diskFiller(store)))
		},
	}, {
		name:  "read-only",
		errno: syscall.EROFS,
		fail: func(_ *testing.T, _ fleetprov.DirStore, remount func(uintptr)) {
			remount(syscall.MS_RDONLY)
		},
		mend: func(_ *testing.T, _ fleetprov.DirStore, remount func(uintptr)) {
			remount(0)
		},
	}}
}

func diskFiller(store fleetprov.DirStore) string {
	return filepath.Join(filepath.Dir(string(store)), "filler")
}

// fillDisk leaves so many bytes of the disk free.
func fillDisk(t *testing.T, store fleetprov.DirStore, free int64) {
	t.Helper()
	filler, err := os.OpenFile(diskFiller(store), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	info, err := filler.Stat()
	require.NoError(t, err)
	require.NoError(t, filler.Truncate(info.Size()-free))
}

// diskDevice is what the firmware has.
type diskDevice struct {
	server      *fleetprovtest.Server
	provisioner *fleetprov.Provisioner
	parameters  map[string]string
}

func newDiskDevice(t *testing.T, opts ...fleetprov.Option) diskDevice {
	t.Helper()
	server := provtest.NewServer(t)
	// A write that fails is tried again for as long as a step may take.
	opts = append(opts, fleetprov.WithStepTimeout(3*time.Second))
	return diskDevice{server, provtest.NewProvisioner(t, server, opts...), map[string]string{"SerialNumber": "1"}}
}

// active are the ids of the active certificates.
func (d diskDevice) active() []string {
	var ids []string
	for _, certificate := range d.server.Certificates() {
		if certificate.Status == "ACTIVE" {
			ids = append(ids, certificate.ID)
		}
	}
	return ids
}

// registrations is how often RegisterThing was asked for.
func (d diskDevice) registrations() (n int) {
	for _, request := range d.server.Requests() {
		if request.Op == fleetprovtest.OpRegisterThing {
			n++
		}
	}
	return n
}

// diskRow is a write at which the disk fails, and what AWS has done by then.
type diskRow struct {
	name             string
	minted, accepted bool
	journal          bool // that it was accepted is on the disk
	isDelete         bool
}

// eachDiskFailure runs try for each write and each way to fail.
func eachDiskFailure(t *testing.T, rows []diskRow, try func(t *testing.T, at int, row diskRow, failure diskFailure)) {
	for _, failure := range diskFailures() {
		t.Run(failure.name, func(t *testing.T) {
			t.Parallel()
			for at, row := range rows {
				t.Run("at "+row.name, func(t *testing.T) {
					t.Parallel()
					try(t, at, row, failure)
				})
			}
		})
	}
}

func TestEnsureOnADiskThatFailsAtEachWrite(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	eachDiskFailure(t, []diskRow{
		{name: "the proof"},
		{name: "the journal of Create", minted: true},
		{name: "the journal of RegisterThing", minted: true, accepted: true},
		{name: "the credentials", minted: true, accepted: true, journal: true},
		{name: "the end of the journal", minted: true, accepted: true, journal: true, isDelete: true},
	}, func(t *testing.T, at int, row diskRow, failure diskFailure) {
		device := newDiskDevice(t, fleetprov.WithGeneratedKey())
		dir, remount := smallDisk(t, t.TempDir())
		store := &diskStore{dir, func() { failure.fail(t, dir, remount) }, at}

		credentials, err := device.provisioner.Ensure(provtest.Context(t), store, device.parameters)
		if row.isDelete && failure.takesDelete {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, failure.errno)
		}
		assert.Equal(t, row.minted, len(device.server.Certificates()) > 0)
		assert.Equal(t, row.accepted, credentials != nil, "what AWS accepted is returned")
		if credentials != nil {
			assert.Equal(t, []string{credentials.CertificateID}, device.active())
		}

		failure.mend(t, dir, remount)
		registrations := device.registrations()
		again, err := device.provisioner.Ensure(provtest.Context(t), dir, device.parameters)
		require.NoError(t, err)
		assert.Equal(t, []string{again.CertificateID}, device.active())
		if credentials != nil {
			assert.Equal(t, credentials, again)
		}
		if row.journal {
			assert.Equal(t, registrations, device.registrations(), "all that was left to do was to write")
		}
		stored, err := fleetprov.LoadCredentials(provtest.Context(t), dir)
		require.NoError(t, err)
		assert.Equal(t, again, stored)
		names := []string{"credentials.pem"}
		if row.isDelete && !failure.takesDelete {
			names = append(names, "pending.pem") // stored credentials are returned without a write
		}
		storeHoldsOnly(t, dir, names...)
	})
}

func TestRenewOnADiskThatFailsAtEachWrite(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	eachDiskFailure(t, []diskRow{
		{name: "the proof"},
		{name: "the journal of Create", minted: true},
		{name: "the journal of RegisterThing", minted: true, accepted: true},
		{name: "the copy of the old credentials", minted: true, accepted: true, journal: true},
		{name: "the credentials", minted: true, accepted: true, journal: true},
		{name: "the end of the journal", minted: true, accepted: true, journal: true, isDelete: true},
	}, func(t *testing.T, at int, row diskRow, failure diskFailure) {
		device := newDiskDevice(t, fleetprov.WithGeneratedKey())
		dir, remount := smallDisk(t, t.TempDir())
		old, err := device.provisioner.Ensure(provtest.Context(t), dir, device.parameters)
		require.NoError(t, err)
		before, err := dir.Get(provtest.Context(t), "credentials.pem")
		require.NoError(t, err)
		store := &diskStore{dir, func() { failure.fail(t, dir, remount) }, at}

		renewed, err := device.provisioner.Renew(provtest.Context(t), store, device.parameters)
		if row.isDelete && failure.takesDelete {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, failure.errno)
		}
		assert.Equal(t, row.minted, len(device.server.Certificates()) > 1)
		assert.Equal(t, row.accepted, renewed != nil, "what AWS accepted is returned")
		current, err := fleetprov.LoadCredentials(provtest.Context(t), dir)
		require.NoError(t, err)
		if row.isDelete {
			assert.Equal(t, renewed, current)
		} else {
			assert.Equal(t, old, current, "the old stay until the new are there")
		}

		failure.mend(t, dir, remount)
		registrations := device.registrations()
		if !row.isDelete || !failure.takesDelete {
			current, err = device.provisioner.Renew(provtest.Context(t), dir, device.parameters)
			require.NoError(t, err)
		}
		assert.Equal(t, []string{old.CertificateID, current.CertificateID}, device.active())
		assert.Equal(t, old.CertificateID, current.PreviousCertificateID)
		if renewed != nil {
			assert.Equal(t, renewed, current)
		}
		if row.journal {
			assert.Equal(t, registrations, device.registrations(), "all that was left to do was to write")
		}
		stored, err := fleetprov.LoadCredentials(provtest.Context(t), dir)
		require.NoError(t, err)
		assert.Equal(t, current, stored)
		storeHas(t, dir, "previous.pem", string(before))
		storeHoldsOnly(t, dir, "credentials.pem", "previous.pem")
	})
}

// Somebody else fills the disk after the proof: the room of that is the journal's.
func TestTheProofKeepsRoomForTheJournal(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	device := newDiskDevice(t)
	dir, _ := smallDisk(t, t.TempDir())
	full := sync.OnceFunc(func() { fillDisk(t, dir, 0) })
	credentials, err := device.provisioner.Ensure(provtest.Context(t), &diskStore{dir, full, 1}, device.parameters)
	require.NoError(t, err)
	assert.Equal(t, []string{credentials.CertificateID}, device.active())
	assert.Len(t, device.server.Certificates(), 1)
	storeHoldsOnly(t, dir, "credentials.pem")
}

// However much of the disk is free, either all is well or AWS is not asked.
func TestDisksThatAreNearlyFull(t *testing.T) {
	if inOwnProcess(t, ownMounts()) == "" {
		return
	}
	for name, opts := range map[string][]fleetprov.Option{
		"with a key made on the device": {fleetprov.WithGeneratedKey()},
		"with a key made by AWS":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			device := newDiskDevice(t, opts...)
			results := map[bool]int{}
			for free := int64(0); free <= 48<<10; free += 4 << 10 {
				store, _ := smallDisk(t, t.TempDir())
				try := func(job job) *fleetprov.Credentials {
					fillDisk(t, store, free)
					asked := len(device.server.Requests())
					credentials, err := job(device.provisioner, provtest.Context(t), store, device.parameters)
					if err != nil {
						assert.ErrorIs(t, err, syscall.ENOSPC)
						assert.ErrorContains(t, err, "free space")
						assert.False(t, fleetprov.Retryable(err))
						assert.Nil(t, credentials)
						assert.Len(t, device.server.Requests(), asked, "AWS was asked with %d bytes free", free)
					}
					results[err == nil]++
					require.NoError(t, os.Remove(diskFiller(store)))
					return credentials
				}

				if try((*fleetprov.Provisioner).Ensure) != nil {
					storeHoldsOnly(t, store, "credentials.pem")
				} else {
					storeHoldsOnly(t, store)
					_, err := device.provisioner.Ensure(provtest.Context(t), store, device.parameters)
					require.NoError(t, err)
				}
				if try((*fleetprov.Provisioner).Renew) != nil {
					storeHoldsOnly(t, store, "credentials.pem", "previous.pem")
				} else {
					storeHoldsOnly(t, store, "credentials.pem")
				}
			}
			assert.NotZero(t, results[true])
			assert.NotZero(t, results[false])
		})
	}
}
