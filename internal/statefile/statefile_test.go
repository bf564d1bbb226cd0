package statefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/statefile"
)

type lines []string

// record is a replay function that collects lines.
func (l *lines) record(_ int, line []byte) error {
	*l = append(*l, string(line))
	return nil
}

func open(t *testing.T, path string) *statefile.File {
	t.Helper()
	f, err := statefile.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLinesComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	var none lines
	require.NoError(t, f.Read(none.record), "a file that does not exist")
	assert.Empty(t, none)
	require.NoError(t, f.Rewrite([]any{"first", 2}))
	require.NoError(t, f.Append(map[string]int{"third": 3}))
	require.NoError(t, f.Close())

	f = open(t, path)
	var all lines
	require.NoError(t, f.Read(all.record))
	assert.Equal(t, lines{`"first"`, `2`, `{"third":3}`}, all)
	require.NoError(t, f.Rewrite([]any{"anew"}))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "\"anew\"\n", string(content))
}

func TestHalfALineIsIgnored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for content, want := range map[string]lines{
		"1\n2\n3": {"1", "2"},
		"1\n":     {"1"},
		"1":       {"1"}, // the first line is never half a line, so the caller has to judge it
		"":        nil,
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		f := open(t, path)
		var got lines
		require.NoError(t, f.Read(got.record))
		assert.Equal(t, want, got, "%q", content)
		require.NoError(t, f.Close())
	}
}

func TestReadSaysWhichLineIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(path, []byte("1\n2\n3\n"), 0o600))
	wrong := errors.New("this is wrong")
	err := open(t, path).Read(func(number int, _ []byte) error {
		if number == 2 {
			return wrong
		}
		return nil
	})
	assert.ErrorIs(t, err, wrong)
	assert.ErrorContains(t, err, path+": line 2: this is wrong")
}

func TestOneServerAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	first := open(t, path)
	_, err := statefile.Open(path)
	assert.ErrorContains(t, err, path+": another server is using it")
	require.NoError(t, first.Close())
	open(t, path)
}

func TestAppendAfterCloseFails(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "state"))
	require.NoError(t, f.Rewrite(nil))
	require.NoError(t, f.Close())
	assert.ErrorIs(t, f.Append(1), os.ErrClosed)
}

func TestRewriteThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	require.NoError(t, os.WriteFile(path, []byte("1\n"), 0o600))
	f := open(t, path)
	require.Error(t, f.Rewrite([]any{1, func() {}}), "a function is no JSON")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "1\n", string(content))
	assert.NoFileExists(t, path+".new")
}
