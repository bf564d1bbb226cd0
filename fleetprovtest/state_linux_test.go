package fleetprovtest_test

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// limitFileSize lets no file of the process grow beyond so many bytes. As on a full
// disk, a write is cut off where the limit is reached.
func limitFileSize(t *testing.T, size int64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	limited := before
	limited.Cur = uint64(size)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited))
	return func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)) }
}

func TestDiskThatGetsFullInTheMiddleOfALine(t *testing.T) {
	if !provtest.RunAlone(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		log := &logged{}
		d := keeping(t, path, func(s *fleetprovtest.Server) { s.Logger = log.logger() })
		first, _ := d.enrol("test-template", `{"ThingName":"a"}`)
		before, err := os.ReadFile(path)
		require.NoError(t, err)

		lift := limitFileSize(t, int64(len(before))+100)
		_, certificate := d.enrol("test-template", `{"ThingName":"lost"}`)
		d.connect(certificate, "lost").ping() // it works as long as the server runs
		after, err := os.ReadFile(path)
		lift()
		require.NoError(t, err)
		assert.Equal(t, string(before), string(after), "the half line is taken back")
		assert.Contains(t, log.String(), `level=ERROR msg="the state could not be written" error="write `+path+`: file too large"`)
		assert.NotContains(t, log.String(), "truncate")

		second, _ := d.enrol("test-template", `{"ThingName":"b"}`)
		d.server.Close()
		d = keeping(t, path, nil)
		var ids []string
		for _, certificate := range d.server.Certificates() {
			ids = append(ids, certificate.ID)
		}
		assert.Equal(t, []string{first.CertificateID, second.CertificateID}, ids)
	})
}
