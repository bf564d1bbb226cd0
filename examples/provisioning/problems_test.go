package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProblemsAreOneLineThatSaysWhatToDo(t *testing.T) {
	_, environment, pfx := aws(t)
	notPFX := filepath.Join(t.TempDir(), "not.pfx")
	require.NoError(t, os.WriteFile(notPFX, []byte("hello"), 0o600))
	with := func(name, value string) map[string]string {
		changed := map[string]string{name: value}
		for n, v := range environment {
			if n != name {
				changed[n] = v
			}
		}
		return changed
	}
	for _, test := range []struct {
		name        string
		environment map[string]string
		args        []string
		says        []string
	}{
		{"no such file", environment, []string{"-pfx", "missing.pfx"},
			[]string{"missing.pfx", "name it with -pfx", "examples/secrets/README.md says how to make it"}},
		{"nothing in the default place", environment, nil, []string{"examples/secrets/claim_identity.pfx"}},
		{"not a PFX", environment, []string{"-pfx", notPFX}, []string{notPFX, "examples/secrets/README.md says how to make the claim"}},
		{"wrong password", with("IDENTITY_PASSWORD", "wrong"), []string{"-pfx", pfx},
			[]string{"incorrect password", "set IDENTITY_PASSWORD"}},
		{"no password", with("IDENTITY_PASSWORD", ""), []string{"-pfx", pfx}, []string{"set IDENTITY_PASSWORD"}},
		{"no template", with("TEMPLATE_NAME", ""), []string{"-pfx", pfx}, []string{"-template or TEMPLATE_NAME"}},
		{"endpoint and template that cannot be", with("AWS_HOSTNAME", "https://x"), []string{"-pfx", pfx, "-template", "a b"},
			[]string{"is a URL", "; the template name \"a b\""}},
		{"template that AWS does not have", environment, []string{"-pfx", pfx, "-template", "other"},
			[]string{"404", `check that the template "other" exists`}},
		{"parameter that the template requires", environment, []string{"-pfx", pfx},
			[]string{"400", "SerialNumber", "check the parameters"}},
		{"a file in place of the directory", environment, []string{"-pfx", pfx, "-out", pfx},
			[]string{pfx, "name another directory with -out"}},
		{"a file among the parents of the directory", environment, []string{"-pfx", pfx, "-out", filepath.Join(pfx, "device")},
			[]string{pfx, "name another directory with -out"}},
		{"-pfx without AWS_HOSTNAME", nil, []string{"-pfx", pfx}, []string{"set AWS_HOSTNAME"}},
		{"proxy that cannot be parsed", nil, []string{"-proxy", "http://user:pr0xy-secret/x@host:1"}, []string{"-proxy is not a URL such as"}},
		{"proxy of an unknown kind", nil, []string{"-proxy", "ftp://user:pr0xy-secret@host:1"}, []string{"socks5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			temp := emptyTemp(t)
			t.Chdir(t.TempDir())
			r := runExample(t.Context(), test.environment, test.args...)
			assert.Equal(t, 1, r.status)
			assert.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
			assert.True(t, strings.HasPrefix(r.stderr, "provisioning: "), r.stderr)
			for _, words := range test.says {
				assert.Contains(t, r.stderr, words)
			}
			assert.NotContains(t, r.stderr, "pr0xy-secret")
			assertEmpty(t, temp)
			assertEmpty(t, ".")
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
		{[]string{"-param", "=0001"}, 2, "it must be key=value"},
		{[]string{"-param", "a=1", "-param", "a=2"}, 2, `"a" is given twice`},
		{[]string{"SerialNumber=0001"}, 2, "-param key=value"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			r := runExample(t.Context(), nil, test.args...)
			assert.Equal(t, test.status, r.status)
			assert.Contains(t, r.stderr, test.says)
			assert.Empty(t, r.stdout)
		})
	}
}
