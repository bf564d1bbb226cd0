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
	_, environment, flags := aws(t)
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

	for _, test := range []struct {
		name        string
		environment map[string]string
		args        []string
		says        []string
	}{
		{"no such claim", environment, []string{"-pfx", "missing.pfx"},
			[]string{"missing.pfx", "name the file with -pfx", "examples/secrets/README.md says how to make it"}},
		{"damaged credentials and no claim", environment, []string{"-pfx", "missing.pfx", "-state", string(damaged)},
			[]string{"FLEETPROV METADATA", "reading the claim: ", "missing.pfx"}},
		{"wrong password", with("IDENTITY_PASSWORD", "wrong"), []string{"-pfx", pfx}, []string{"incorrect password", "set IDENTITY_PASSWORD"}},
		{"endpoint and template that cannot be", with("AWS_HOSTNAME", "https://x"), []string{"-pfx", pfx, "-template", "a b"},
			[]string{"is a URL", "; the template name \"a b\""}},
		{"template that AWS does not have", environment, []string{"-pfx", pfx, "-template", "other"},
			[]string{"404", `check that the template "other" exists`}},
		{"-pfx without AWS_HOSTNAME", nil, []string{"-pfx", pfx}, []string{"set AWS_HOSTNAME"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			emptyTemp(t)
			t.Chdir(t.TempDir())
			f := start(t, test.environment, test.args...)
			assert.Equal(t, 1, provtest.Wait(t, f.status))
			lines := strings.Split(strings.TrimSpace(f.stderr.String()), "\n")
			problem := lines[len(lines)-1] // behind what is logged
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
		{[]string{"-param", "a=1", "-param", "a=2"}, 2, "no key may be given twice"},
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
