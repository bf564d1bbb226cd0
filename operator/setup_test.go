package operator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/operator"
)

func TestFleetIsSetUpUsedAndTakenDown(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{SerialNumbers: []string{"0001", "0002"}})

	findings, err := account.Examine(deadline(t), operator.Examination{Parameters: map[string]string{"SerialNumber": "0001"}})
	require.NoError(t, err)
	assert.Empty(t, findings)

	before := c.contents(t)
	again, err := account.PlanSetup(deadline(t), s)
	require.NoError(t, err)
	assert.Empty(t, whats(again), "a second run has nothing to do")
	assert.Len(t, again.Present, 16)
	assert.Equal(t, before, c.contents(t))

	claim := openClaim(t, s.ClaimFile)
	credentials, err := c.provision(t, claim, "0001")
	require.NoError(t, err)
	assert.Equal(t, "device-0001", credentials.ThingName)
	_, err = c.provision(t, claim, "0003")
	assertForbidden(t, err)

	plan, err := account.PlanTeardown(deadline(t), s, false)
	require.NoError(t, err)
	assert.Contains(t, whats(plan), "remove thing device-0001")
	run(t, plan)
	assert.Empty(t, c.contents(t))
	plan, err = account.PlanTeardown(deadline(t), s, false)
	require.NoError(t, err)
	assert.Empty(t, whats(plan))
}

func TestClaimIsOnP256AndItsFilesArePrivate(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	s := setup(t, c.open(t), operator.Setup{})
	claim := openClaim(t, s.ClaimFile)
	key, ok := claim.Certificate().PublicKey.(*ecdsa.PublicKey)
	require.True(t, ok)
	assert.Equal(t, elliptic.P256(), key.Curve)
	require.Len(t, claim.Roots(), 1)
	assert.Equal(t, "Amazon Root CA 1", claim.Roots()[0].Subject.CommonName)

	files, err := os.ReadDir(filepath.Dir(s.ClaimFile))
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
		info, err := file.Info()
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			assert.Equal(t, os.FileMode(0o600), info.Mode(), file.Name())
		}
	}
	assert.Equal(t, []string{"claim_identity.password", "claim_identity.pfx"}, names)
}

func TestPlanChangesNothing(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	dir := t.TempDir()
	plan, err := c.open(t).PlanSetup(deadline(t), operator.Setup{ClaimFile: filepath.Join(dir, "claim.pfx"), SerialNumbers: []string{"1"}})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"create role fleet-provisioning-role",
		"create policy AWSIoTThingsRegistration of role fleet-provisioning-role",
		"create policy fleet-device-policy",
		"create policy fleet-rotation-policy",
		"create role fleet-hook-role",
		"create policy AWSLambdaBasicExecutionRole of role fleet-hook-role",
		"create policy fleet-hook-role-policy of role fleet-hook-role",
		"create function fleet-provisioning-hook",
		"create permission of AWS IoT to call the function fleet-provisioning-hook",
		"create 1 serial number on the list of the function fleet-provisioning-hook",
		"create template fleet-template",
		"create function fleet-rotation-hook",
		"create permission of AWS IoT to call the function fleet-rotation-hook",
		"create template fleet-rotation-template",
		"create policy fleet-claim-policy",
		"create claim for " + filepath.Join(dir, "claim.pfx"),
	}, whats(plan))
	assert.Empty(t, c.contents(t))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, files)
}

// openClaim opens a PFX with the password beside it.
func openClaim(t *testing.T, path string) *fleetprov.Identity {
	t.Helper()
	password, err := os.ReadFile(strings.TrimSuffix(path, filepath.Ext(path)) + ".password")
	require.NoError(t, err)
	claim, err := fleetprov.LoadPFX(path, strings.TrimSpace(string(password)))
	require.NoError(t, err)
	return claim
}

func assertForbidden(t *testing.T, err error) {
	t.Helper()
	var rejected *fleetprov.RejectedError
	if assert.ErrorAs(t, err, &rejected) {
		assert.Equal(t, 403, rejected.StatusCode)
	}
}
