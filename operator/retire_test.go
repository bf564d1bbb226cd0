package operator_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/operator"
)

// renewed is a device that has renewed its certificate.
func renewed(t *testing.T, c *cloud, s operator.Setup) *fleetprov.Credentials {
	t.Helper()
	device := &fleetprov.Manager{
		Endpoint:      c.server.Endpoint(),
		Template:      "fleet-template",
		Claim:         func(context.Context) (*fleetprov.Identity, error) { return openClaim(t, s.ClaimFile), nil },
		Store:         fleetprov.DirStore(filepath.Join(t.TempDir(), "identity")),
		Parameters:    map[string]string{"SerialNumber": "0001"},
		RenewTemplate: "fleet-rotation-template",
		Options:       []fleetprov.Option{fleetprov.WithRootCAs(c.server.RootCAs()), fleetprov.WithMaxAttempts(2), fleetprov.WithLogger(nil)},
	}
	_, err := device.Credentials(deadline(t))
	require.NoError(t, err)
	credentials, err := device.Renew(deadline(t))
	require.NoError(t, err)
	require.NotEmpty(t, credentials.PreviousCertificateID)
	return credentials
}

func TestReplacedCertificateIsRetiredAndDeleted(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{SerialNumbers: []string{"0001"}})
	device := renewed(t, c, s)
	previous := device.PreviousCertificateID

	_, err := account.PlanRetireOf(deadline(t), operator.Fleet{}, "device-0002", previous)
	require.EqualError(t, err, "the certificate "+previous+" is not attached to the thing device-0002")
	plan, err := account.PlanRetireOf(deadline(t), operator.Fleet{}, "device-0001", previous)
	require.NoError(t, err)
	assert.Len(t, plan.Steps, 1)
	_, err = account.PlanRetireOf(deadline(t), operator.Fleet{}, "", previous)
	require.Error(t, err)
	plan, err = account.PlanRetire(deadline(t), operator.Fleet{}, strings.ToUpper(previous), previous)
	require.NoError(t, err)
	assert.Equal(t, []string{"deactivate certificate " + previous + " of thing device-0001"}, whats(plan))
	_, err = account.PlanDelete(deadline(t), operator.Fleet{}, previous)
	require.ErrorContains(t, err, "is active: retire it first")
	run(t, plan)
	plan, err = account.PlanRetire(deadline(t), operator.Fleet{}, previous)
	require.NoError(t, err)
	assert.Empty(t, whats(plan))

	_, err = account.PlanRetire(deadline(t), operator.Fleet{}, device.CertificateID)
	require.ErrorContains(t, err, "the thing device-0001 has no active one, and its device is cut off: if that is meant, use release")
	_, err = account.PlanRetire(deadline(t), operator.Fleet{}, c.claimID(t))
	require.ErrorContains(t, err, "is not of a device of this fleet")

	plan, err = account.PlanDelete(deadline(t), operator.Fleet{})
	require.NoError(t, err)
	assert.Equal(t, []string{"delete certificate " + previous}, whats(plan), "of all, only this one is inactive")
	run(t, plan)
	plan, err = account.PlanDelete(deadline(t), operator.Fleet{}, previous)
	require.NoError(t, err)
	assert.Empty(t, whats(plan))
	assert.Equal(t, []string{"certificate " + previous + " is gone"}, plan.Unneeded)
	findStatus(t, c, device.CertificateID, types.CertificateStatusActive)

	plan, err = account.PlanTeardown(deadline(t), s, false)
	require.NoError(t, err)
	run(t, plan)
	assert.Empty(t, c.contents(t))
}

func TestReleasedDeviceRegistersAnew(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{SerialNumbers: []string{"0001"}})
	claim := openClaim(t, s.ClaimFile)
	first, err := c.provision(t, claim, "0001")
	require.NoError(t, err)
	_, err = c.provision(t, claim, "0001")
	assertForbidden(t, err)

	plan, err := account.PlanRelease(deadline(t), operator.Fleet{}, "0001", "0002")
	require.NoError(t, err)
	assert.Equal(t, []string{"deactivate certificate " + first.CertificateID + " of thing device-0001"}, whats(plan))
	assert.Equal(t, []string{"there is no thing device-0002: its device can register"}, plan.Unneeded)
	run(t, plan)
	second, err := c.provision(t, claim, "0001")
	require.NoError(t, err)
	assert.NotEqual(t, first.CertificateID, second.CertificateID)

	// A teardown that keeps the devices keeps what they need.
	plan, err = account.PlanTeardown(deadline(t), s, true)
	require.NoError(t, err)
	run(t, plan)
	assert.Equal(t, []string{
		"certificate ACTIVE", "certificate INACTIVE", "policy fleet-device-policy attached attached",
		"policy fleet-rotation-policy attached attached", "thing device-0001",
	}, c.contents(t))
}

func TestSerialNumbersAreAddedAndRemoved(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{})
	claim := openClaim(t, s.ClaimFile)
	_, err := c.provision(t, claim, "0001")
	assertForbidden(t, err)

	added, err := account.AddSerialNumbers(deadline(t), operator.Fleet{}, "0002", "0001", "0002")
	require.NoError(t, err)
	assert.Equal(t, []string{"0002", "0001"}, added)
	list, err := account.SerialNumbers(deadline(t), operator.Fleet{})
	require.NoError(t, err)
	assert.Equal(t, []string{"0001", "0002"}, list)
	_, err = c.provision(t, claim, "0001")
	require.NoError(t, err)

	removed, err := account.RemoveSerialNumbers(deadline(t), operator.Fleet{}, "0002", "0003")
	require.NoError(t, err)
	assert.Equal(t, []string{"0002"}, removed)
	_, err = c.provision(t, claim, "0002")
	assertForbidden(t, err)
	again, err := account.PlanSetup(deadline(t), s)
	require.NoError(t, err)
	assert.Empty(t, whats(again), "setup leaves the list alone")

	_, err = account.AddSerialNumbers(deadline(t), operator.Fleet{}, "a b")
	require.ErrorContains(t, err, `the serial number "a b" cannot be in the name of a thing`)
}

// A file of before is never overwritten.
func TestSetupLeavesOtherFilesAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "claim.pfx")
	require.NoError(t, os.WriteFile(file, []byte("the only copy"), 0o600))
	_, err := newCloud(t, nil).open(t).PlanSetup(deadline(t), operator.Setup{ClaimFile: file})
	require.ErrorContains(t, err, "claim.pfx is there already, and may be the only copy of a claim: move it away, or choose another file with -out")
}
