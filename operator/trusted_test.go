package operator_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/operator"
)

func TestTrustedUserProvisionsWithinFiveMinutes(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	setup(t, c.open(t), operator.Setup{SerialNumbers: []string{"0001", "0002"}})
	claim, err := operator.TrustedClaim(deadline(t), c.config, "fleet-template")
	require.NoError(t, err)
	c.server.Advance(4 * time.Minute)
	credentials, err := c.provision(t, claim, "0001")
	require.NoError(t, err)
	assert.Equal(t, "device-0001", credentials.ThingName)

	c.server.Advance(2 * time.Minute)
	_, err = c.provision(t, claim, "0002")
	assert.ErrorIs(t, err, fleetprov.ErrClosedOnConnect)
}

func TestTrustedClaimAsAFile(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	setup(t, c.open(t), operator.Setup{})
	claim, err := operator.NewTrustedClaim(deadline(t), c.config, "fleet-template")
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(5*time.Minute), claim.Expires, time.Minute)

	data, err := claim.PEM()
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(data, data)
	require.NoError(t, err)
	fromPEM, err := fleetprov.NewIdentity(pair)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "claim.pfx")
	require.NoError(t, claim.WritePFX(path, nil))
	assert.True(t, fromPEM.Certificate().Equal(openClaim(t, path).Certificate()))
}

func TestTrustedClaimNeedsATemplate(t *testing.T) {
	c := newCloud(t, nil)
	_, err := operator.TrustedClaim(deadline(t), c.config, "fleet-template")
	require.ErrorContains(t, err, "there is no template fleet-template in eu-west-1: make it with setup, or check its name and the region")
	_, err = operator.TrustedClaim(deadline(t), c.config, "a name with blanks")
	require.ErrorContains(t, err, "must be 1 to 36 letters")
}

func TestClaims(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	file := filepath.Join(t.TempDir(), "batch2.pfx")
	_, err := account.NewClaim(deadline(t), operator.Fleet{}, file, nil)
	require.ErrorContains(t, err, "there is no policy fleet-claim-policy for it: run setup first")
	setup(t, account, operator.Setup{})

	second, err := account.NewClaim(deadline(t), operator.Fleet{}, file, nil)
	require.NoError(t, err)
	openClaim(t, file)
	_, err = account.NewClaim(deadline(t), operator.Fleet{}, file, nil)
	require.ErrorContains(t, err, "is there already, and may be the only copy of a claim")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotEmpty(t, data)

	require.NoError(t, account.DeactivateClaim(deadline(t), operator.Fleet{}, second.CertificateID))
	assert.Subset(t, c.contents(t), []string{"certificate ACTIVE", "certificate INACTIVE"})
	err = account.DeactivateClaim(deadline(t), operator.Fleet{Name: "other"}, second.CertificateID)
	require.ErrorContains(t, err, "is no claim of the fleet: the policy other-claim-policy is not attached to it")
	err = account.DeactivateClaim(deadline(t), operator.Fleet{}, "abc")
	require.ErrorContains(t, err, `"abc" is not the id of a certificate, which has 64 hex digits`)
}

// A claim that was ended stays ended, and keeps nothing else from being made right.
func TestSetupLeavesAnEndedClaimAlone(t *testing.T) {
	noPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{})
	require.NoError(t, account.DeactivateClaim(deadline(t), operator.Fleet{}, c.claimID(t)))
	b := breaker{t, deadline(t), c, account, c.claimID(t)}
	b.deleteFunction("fleet-rotation-hook")
	plan, err := account.PlanSetup(deadline(t), s)
	require.NoError(t, err)
	assert.Equal(t, []string{"create function fleet-rotation-hook", "create permission of AWS IoT to call the function fleet-rotation-hook"}, whats(plan))
	assert.Contains(t, plan.Present, "claim for "+s.ClaimFile+": none is active, and no device can provision itself with one: make another with claim, or activate one")
	run(t, plan)
	findStatus(t, c, b.claim, types.CertificateStatusInactive)
}

func TestFleetWithoutAClaimThatDevicesShare(t *testing.T) {
	needsPython(t)
	c := newCloud(t, nil)
	account := c.open(t)
	s := setup(t, account, operator.Setup{Fleet: operator.Fleet{NoClaim: true}, SerialNumbers: []string{"0001"}})
	assert.NoFileExists(t, s.ClaimFile)
	assert.NotContains(t, c.contents(t), "policy fleet-claim-policy")
	findings, err := account.Examine(deadline(t), operator.Examination{Fleet: s.Fleet})
	require.NoError(t, err)
	assert.Empty(t, findings)
	claim, err := operator.TrustedClaim(deadline(t), c.config, "fleet-template")
	require.NoError(t, err)
	_, err = c.provision(t, claim, "0001")
	require.NoError(t, err)

	// It had one before, which teardown finds all the same.
	setup(t, account, operator.Setup{ClaimFile: s.ClaimFile})
	plan, err := account.PlanTeardown(deadline(t), s, false)
	require.NoError(t, err)
	run(t, plan)
	assert.Empty(t, c.contents(t))
}
