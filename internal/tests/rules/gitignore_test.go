package rules_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the programs here write into a checkout is secret, and so is what one that is killed
// leaves half written.
func TestGitIgnoresSecrets(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git")
	}
	// A repository of its own: the patterns of the user's must not help.
	directory := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(directory, ".gitignore"), []byte(read(t, ".gitignore")), 0o600))
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_SYSTEM", os.DevNull)
	output, err := exec.Command(git, "-C", directory, "init", "-q").CombinedOutput()
	require.NoError(t, err, "%s", output)

	var secrets []string
	for _, folder := range []string{"", "operator/", "examples/secrets/", "examples/aws/"} {
		for _, file := range []string{
			"claim_identity.pfx", "claim_identity.password", "claim_identity.pending", "trusted.pem",
			"claim_identity.pfx.123", "claim_identity.password.123", "claim_identity.pending.123",
		} {
			secrets = append(secrets, folder+file)
		}
	}
	ignored, _ := exec.Command(git, append([]string{"-C", directory, "check-ignore"}, secrets...)...).Output() // fails if none is
	assert.Equal(t, secrets, strings.Fields(string(ignored)))
}
