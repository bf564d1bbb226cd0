package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestProblemsAreOneLineThatSaysWhatToDo(t *testing.T) {
	server, environment, flags := aws(t)
	pfx := flags[1]
	with := func(name, value string) map[string]string {
		changed := map[string]string{name: value}
		for n, v := range environment {
			if n != name {
				changed[n] = v
			}
		}
		return changed
	}
	damaged := fleetprov.DirStore(filepath.Join(t.TempDir(), "damaged"))
	require.NoError(t, damaged.Put(t.Context(), "credentials.pem", []byte("no credentials")))
	stale := fleetprov.DirStore(filepath.Join(t.TempDir(), "stale"))
	data, err := provisioned(t, server, "stale").MarshalPEM()
	require.NoError(t, err)
	require.NoError(t, stale.Put(t.Context(), "credentials.pem", data))

	for _, test := range []struct {
		name        string
		environment map[string]string
		args        []string
		says        []string
	}{
		{"no such claim", environment, []string{"-pfx", "missing.pfx"},
			[]string{"missing.pfx", "name it with -pfx", "examples/secrets/README.md says how to make it"}},
		{"damaged credentials and no claim", environment, []string{"-pfx", "missing.pfx", "-state", string(damaged)},
			[]string{"FLEETPROV METADATA", "; fleetprov: reading the claim: ", "missing.pfx"}},
		{"wrong password", with("IDENTITY_PASSWORD", "wrong"), []string{"-pfx", pfx}, []string{"incorrect password", "set IDENTITY_PASSWORD"}},
		{"no template", with("TEMPLATE_NAME", ""), []string{"-pfx", pfx}, []string{"-template or TEMPLATE_NAME"}},
		{"endpoint and template that cannot be", with("AWS_HOSTNAME", "https://x"), []string{"-pfx", pfx, "-template", "a b"},
			[]string{"is a URL", "; the template name \"a b\""}},
		{"template that AWS does not have", environment, []string{"-pfx", pfx, "-template", "other"},
			[]string{"404", `check that the template "other" exists`}},
		{"a file in place of the directory", environment, []string{"-pfx", pfx, "-state", pfx}, []string{pfx}},
		{"-pfx without AWS_HOSTNAME", nil, []string{"-pfx", pfx}, []string{"set AWS_HOSTNAME"}},
		{"credentials of an endpoint that is no more", nil, []string{"-state", string(stale)},
			[]string{string(stale), "name another directory with -state"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			emptyTemp(t)
			t.Chdir(t.TempDir())
			f := start(t, test.environment, test.args...)
			assert.Equal(t, 1, provtest.Wait(t, f.status))
			problem := f.stderr.String()
			assert.Equal(t, 1, strings.Count(problem, "\n"), problem)
			assert.True(t, strings.HasPrefix(problem, "firmware: "), problem)
			for _, words := range test.says {
				assert.Contains(t, problem, words)
			}
			assert.NotContains(t, f.stdout.String(), "telemetry")
			entries, err := os.ReadDir(os.TempDir())
			require.NoError(t, err)
			assert.Empty(t, entries)
		})
	}
}

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"-h"}, 0, "AWS_HOSTNAME"},
		{[]string{"-nonsense"}, 2, "-nonsense"},
		{[]string{"-param", "SerialNumber"}, 2, "it must be key=value"},
		{[]string{"-param", "a=1", "-param", "a=2"}, 2, `"a" is given twice`},
		{[]string{"SerialNumber=0001"}, 2, "-param key=value"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			f := start(t, nil, test.args...)
			assert.Equal(t, test.status, provtest.Wait(t, f.status))
			assert.Contains(t, f.stderr.String(), test.says)
			assert.Empty(t, f.stdout.String())
		})
	}
}

func TestPausesGrowAndDiffer(t *testing.T) {
	for failures, bounds := range [][2]int{{1, 2}, {2, 4}, {4, 8}, {8, 16}, {16, 32}, {32, 64}, {60, 120}, {60, 120}} {
		seen := make(map[float64]bool)
		for range 100 {
			seconds := pause(failures).Seconds()
			assert.GreaterOrEqual(t, seconds, float64(bounds[0]))
			assert.Less(t, seconds, float64(bounds[1]))
			seen[seconds] = true
		}
		assert.Greater(t, len(seen), 90)
	}
}
