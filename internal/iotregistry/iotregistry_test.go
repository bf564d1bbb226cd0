package iotregistry_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iottemplate"
	"github.com/fleetprov/fleetprov/internal/testca"
)

const (
	connectOnly = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}}`
	everything  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}`
)

// account is a registry with the means to change it.
type account struct {
	*testing.T
	*iotregistry.Registry
	ca  *testca.CA
	now time.Time
}

func newAccount(t *testing.T) *account {
	a := &account{T: t, ca: testca.New("root"), now: time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)}
	a.Registry = iotregistry.New(func() time.Time { return a.now })
	a.SetPolicies(nil, a.parse(everything))
	return a
}

func (a *account) parse(document string) *iotpolicy.Document {
	a.Helper()
	parsed, err := iotpolicy.Parse([]byte(document))
	require.NoError(a, err)
	return parsed
}

// issue issues a certificate for a token.
func (a *account) issue(token string) iotregistry.Certificate {
	a.Helper()
	c, err := a.Issue(a.ca.Client("device", testca.Validity{}).Leaf, token)
	require.NoError(a, err)
	return c
}

// activating registers a thing with an active certificate.
func activating(thing string) *iottemplate.Registration {
	return &iottemplate.Registration{
		Thing:       &iottemplate.Thing{Name: thing, Attributes: map[string]string{"site": "1"}},
		Certificate: &iottemplate.Certificate{Status: "ACTIVE"},
		Policies:    []iottemplate.Policy{{Name: iotregistry.DevicePolicy}},
	}
}

func (a *account) register(c iotregistry.Certificate, wanted *iottemplate.Registration) {
	a.Helper()
	name, err := a.Register(c.ID, wanted, map[string]string{"SerialNumber": "1"})
	require.NoError(a, err)
	require.Equal(a, wanted.Thing.Name, name)
}

func TestCertificateFromIssueToDelete(t *testing.T) {
	a := newAccount(t)
	c := a.issue("token")
	assert.Equal(t, iotregistry.PendingActivation, a.Status(c.ID))
	redeemed, err := a.Redeem("token")
	require.NoError(t, err)
	assert.Equal(t, c, redeemed)

	a.register(c, activating("pump"))
	assert.Equal(t, iotregistry.Active, a.Status(c.ID))
	name, err := a.Register(c.ID, activating("valve"), nil)
	require.NoError(t, err)
	assert.Equal(t, "pump", name, "the answer was lost, and nothing changes")

	require.NoError(t, a.SetStatus(strings.ToUpper(c.ID), iotregistry.Inactive))
	assert.Equal(t, iotregistry.Inactive, a.Status(c.ID))
	require.NoError(t, a.Delete(strings.ToUpper(c.ID)))
	assert.Empty(t, a.Status(c.ID))
	assert.Empty(t, a.Certificates())
	require.Len(t, a.Things(), 1)
	assert.Empty(t, a.Things()[0].CertificateIDs)
	_, err = a.Redeem("token")
	assert.ErrorIs(t, err, iotregistry.ErrToken)
	_, err = a.Register(c.ID, activating("pump"), nil)
	assert.ErrorIs(t, err, iotregistry.ErrToken, "it was deleted after its token was redeemed")
	assert.ErrorContains(t, a.Delete(c.ID), "there is no certificate "+c.ID)
	assert.ErrorContains(t, a.SetStatus(c.ID, iotregistry.Active), "there is no certificate "+c.ID)
}

func TestTokensExpire(t *testing.T) {
	a := newAccount(t)
	registered, unused := a.issue("registered"), a.issue("unused")
	a.register(registered, activating("pump"))
	a.now = a.now.Add(30 * time.Minute)
	later := a.issue("later")

	a.now = a.now.Add(30*time.Minute - time.Nanosecond)
	assert.Equal(t, iotregistry.PendingActivation, a.Status(unused.ID))
	a.now = a.now.Add(time.Nanosecond)
	for _, token := range []string{"registered", "unused", ""} {
		_, err := a.Redeem(token)
		assert.ErrorIs(t, err, iotregistry.ErrToken, token)
	}
	var ids []string
	for _, c := range a.Certificates() {
		ids = append(ids, c.ID)
	}
	assert.Equal(t, []string{registered.ID, later.ID}, ids)
}

func TestClaim(t *testing.T) {
	a := newAccount(t)
	a.SetClaim("c1a1")
	require.NoError(t, a.AddTemplate("fleet", `{"Resources":{"p":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"a"}}}}`))
	access, err := a.Access("c1a1", "device")
	require.NoError(t, err)
	allowed := func(topic string) bool {
		return iotpolicy.Allowed(access.Policies, iotpolicy.Request{Action: iotpolicy.Publish, Resource: "topic/" + topic})
	}
	assert.True(t, allowed("$aws/provisioning-templates/fleet/provision/json"))
	assert.False(t, allowed("$aws/provisioning-templates/other/provision/json"))
	assert.False(t, allowed("data"))

	require.NoError(t, a.SetStatus("C1A1", iotregistry.Revoked))
	_, err = a.Access("c1a1", "device")
	assert.EqualError(t, err, "the certificate is REVOKED")
	assert.Error(t, a.Delete("c1a1"), "the account has not issued it")
	assert.ErrorContains(t, a.SetStatus("c1a1", "PENDING_ACTIVATION"), "cannot be set to")
	_, err = a.Access("unknown", "device")
	assert.EqualError(t, err, "the certificate is not known")
}

func TestAccessOfADevice(t *testing.T) {
	a := newAccount(t)
	require.NoError(t, a.AddPolicy("connect", connectOnly))
	c := a.issue("token")
	wanted := activating("pump")
	wanted.Policies = []iottemplate.Policy{{Name: "connect"}, {Name: "missing"}, {Name: iotregistry.DevicePolicy}}
	a.register(c, wanted)

	access, err := a.Access(c.ID, "pump")
	require.NoError(t, err)
	assert.Len(t, access.Policies, 3)
	assert.Equal(t, []string{"missing"}, access.Missing)
	assert.Equal(t, map[string]string{
		"iot:ClientId":                          "pump",
		"iot:Connection.Thing.IsAttached":       "true",
		"iot:Connection.Thing.ThingName":        "pump",
		"iot:Connection.Thing.Attributes[site]": "1",
	}, access.Variables)
	access, err = a.Access(c.ID, "another")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"iot:ClientId": "another", "iot:Connection.Thing.IsAttached": "false"}, access.Variables)
}

func TestRegistrationThatFailsChangesNothing(t *testing.T) {
	a := newAccount(t)
	a.register(a.issue("first"), activating("pump"))
	before := a.Things()
	second := a.issue("second")
	conflicting := activating("pump")
	conflicting.Thing.Attributes = map[string]string{"site": "2"}
	_, err := a.Register(second.ID, conflicting, nil)
	assert.ErrorIs(t, err, iottemplate.ErrConflict)
	broken := activating("pump")
	broken.Policies = []iottemplate.Policy{{Name: "inline", Document: "{}"}}
	_, err = a.Register(second.ID, broken, nil)
	assert.ErrorContains(t, err, "policy inline: ")
	assert.Equal(t, before, a.Things())
	assert.Equal(t, iotregistry.PendingActivation, a.Status(second.ID))
}

func TestResultsAreCopies(t *testing.T) {
	a := newAccount(t)
	a.register(a.issue("token"), activating("pump"))
	things, certificates := a.Things(), a.Certificates()
	things[0].Parameters["SerialNumber"] = "changed"
	things[0].CertificateIDs[0] = "changed"
	things[0].Attributes["site"] = "changed"
	certificates[0].Policies[0] = "changed"
	assert.NotEqual(t, things, a.Things())
	assert.NotEqual(t, certificates, a.Certificates())
	assert.Equal(t, "1", a.Things()[0].Parameters["SerialNumber"])
}

// What one registry keeps, as JSON, makes another one that is the same.
func TestChangesMakeTheSameRegistry(t *testing.T) {
	a := newAccount(t)
	a.SetClaim("c1a1")
	before := a.issue("before")
	a.register(before, activating("pump"))

	var kept []iotregistry.Change
	keep := func(c iotregistry.Change) { kept = append(kept, c) }
	begin := func(all []iotregistry.Change) error { kept = all; return nil }
	require.NoError(t, a.KeepChanges(begin, keep))
	after := a.issue("after")
	inline := activating("valve")
	inline.Policies = []iottemplate.Policy{{Name: "inline", Document: connectOnly}}
	a.register(after, inline)
	pending, deleted := a.issue("pending"), a.issue("deleted")
	require.NoError(t, a.SetStatus(before.ID, iotregistry.Inactive))
	require.NoError(t, a.SetStatus("c1a1", iotregistry.Inactive))
	require.NoError(t, a.Delete(deleted.ID))

	b := newAccount(t)
	b.SetClaim("c1a1")
	for _, change := range kept {
		line, err := json.Marshal(change)
		require.NoError(t, err)
		var read iotregistry.Change
		require.NoError(t, json.Unmarshal(line, &read))
		require.NoError(t, b.Replay(read))
	}
	assert.Equal(t, a.Certificates(), b.Certificates())
	assert.Equal(t, a.Things(), b.Things())
	assert.Equal(t, iotregistry.Inactive, b.Status("c1a1"))
	redeemed, err := b.Redeem("pending")
	require.NoError(t, err)
	assert.Equal(t, pending.ID, redeemed.ID)
	access, err := b.Access(after.ID, "valve")
	require.NoError(t, err)
	assert.Empty(t, access.Missing, "the policy came in the template")
}

func TestTemplates(t *testing.T) {
	a := newAccount(t)
	const body = `{"Resources":{"t":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":"a"}}}}`
	assert.Nil(t, a.Template("fleet").Template)
	require.NoError(t, a.AddTemplate("fleet", body))
	added := a.Template("fleet")
	require.NotNil(t, added)
	a.AddFallbackTemplate("fleet", nil)
	assert.Equal(t, added, a.Template("fleet"), "there is one already")
	assert.ErrorContains(t, a.AddTemplate("a/b", body), `"a/b" cannot be the name of a template`)
	assert.ErrorContains(t, a.AddTemplate("fleet", "{}"), "template fleet: ")
	assert.Equal(t, added, a.Template("fleet"), "it is not replaced by one that fails")
}

func TestReplayDeletesThings(t *testing.T) {
	a := iotregistry.New(time.Now)
	var kept []iotregistry.Change
	require.NoError(t, a.KeepChanges(func([]iotregistry.Change) error { return nil }, func(c iotregistry.Change) { kept = append(kept, c) }))
	require.NoError(t, a.Replay(iotregistry.Change{Thing: &iotregistry.Thing{Name: "device"}}))
	require.NoError(t, a.DeleteThing("device"))
	require.Equal(t, []iotregistry.Change{{DeletedThing: "device"}}, kept)

	b := iotregistry.New(time.Now)
	require.NoError(t, b.Replay(iotregistry.Change{Thing: &iotregistry.Thing{Name: "device"}}))
	require.NoError(t, b.Replay(kept[0]))
	assert.Empty(t, b.Things())
}

// deviceOf registers a certificate with a policy.
func (a *account) deviceOf(token string) iotregistry.Certificate {
	a.Helper()
	c := a.issue(token)
	wanted := activating("pump")
	wanted.Policies = []iottemplate.Policy{{Name: "inline", Document: connectOnly}}
	a.register(c, wanted)
	return c
}

func TestActivationLag(t *testing.T) {
	a := newAccount(t)
	a.SetRules(iotregistry.Rules{ActivationLag: time.Minute})
	c := a.deviceOf("token")
	assert.Equal(t, iotregistry.Active, a.Status(c.ID))
	assert.EqualError(t, a.CanConnect(c.ID), "the certificate has not been active for as long as it takes")
	a.now = a.now.Add(time.Minute - time.Nanosecond)
	_, err := a.Access(c.ID, "pump")
	assert.Error(t, err)

	kept := keptBy(t, a) // by a registry that takes over meanwhile
	kept.now = a.now
	assert.Error(t, kept.CanConnect(c.ID))
	kept.now = a.now.Add(time.Nanosecond)
	assert.NoError(t, kept.CanConnect(c.ID))
	a.now = a.now.Add(time.Nanosecond)
	assert.NoError(t, a.CanConnect(c.ID))
}

func TestSingleUseTokens(t *testing.T) {
	a := newAccount(t)
	a.SetRules(iotregistry.Rules{SingleUseTokens: true})
	c := a.issue("token")
	_, err := a.Redeem("token")
	require.NoError(t, err, "it may be shown as often as it takes to be accepted")
	a.register(c, activating("pump"))
	_, err = a.Redeem("token")
	assert.ErrorIs(t, err, iotregistry.ErrToken)
	_, err = a.Register(c.ID, activating("pump"), nil)
	assert.ErrorIs(t, err, iotregistry.ErrToken, "two at the same time")
	a.now = a.now.Add(2 * time.Hour)
	assert.Equal(t, iotregistry.Active, a.Status(c.ID))
}

func TestCertificateWithoutAPolicy(t *testing.T) {
	a := newAccount(t)
	c := a.issue("token")
	wanted := activating("pump")
	wanted.Policies = nil
	a.register(c, wanted)
	assert.EqualError(t, a.CanConnect(c.ID), "the certificate has no policy")
}

func TestExclusiveThing(t *testing.T) {
	a := newAccount(t)
	c := a.issue("token")
	wanted := activating("pump")
	wanted.Certificate.ExclusiveThing = true
	wanted.Policies = []iottemplate.Policy{{Name: "inline", Document: connectOnly}}
	a.register(c, wanted)
	for _, registry := range []*account{a, keptBy(t, a)} {
		access, err := registry.Access(c.ID, "another")
		require.NoError(t, err)
		assert.Equal(t, map[string]string{
			"iot:ClientId":                          "another",
			"iot:Connection.Thing.IsAttached":       "true",
			"iot:Connection.Thing.ThingName":        "pump",
			"iot:Connection.Thing.Attributes[site]": "1",
		}, access.Variables)
	}
}

// exclusive-thing: a certificate of an exclusive thing cannot be used with other things
// unless it is detached first.
func TestExclusiveAttachment(t *testing.T) {
	setup := func(t *testing.T) (a *account, c iotregistry.Certificate) {
		a = newAccount(t)
		c = a.deviceOf("token")
		a.register(a.issue("other"), activating("valve"))
		require.NoError(t, a.DetachThing("pump", c.ID))
		a.now = a.now.Add(time.Second)
		return a, c
	}
	thingOf := func(t *testing.T, a *account, c iotregistry.Certificate) string {
		access, err := a.Access(c.ID, "another")
		require.NoError(t, err)
		return access.Variables["iot:Connection.Thing.ThingName"]
	}
	refused := func(t *testing.T, err error) {
		var refusal *iotregistry.Refusal
		require.ErrorAs(t, err, &refusal)
		assert.Equal(t, "InvalidRequestException", refusal.Type)
	}
	t.Run("is the thing of every connection, also for a registry that takes over", func(t *testing.T) {
		a, c := setup(t)
		require.NoError(t, a.AttachThing("valve", c.ID, true))
		assert.Equal(t, "valve", thingOf(t, a, c))
		assert.Equal(t, "valve", thingOf(t, keptBy(t, a), c))
	})
	t.Run("may be repeated in either way, and stays exclusive", func(t *testing.T) {
		a, c := setup(t)
		for _, exclusive := range []bool{false, true, true, false} {
			require.NoError(t, a.AttachThing("valve", c.ID, exclusive))
		}
		assert.Equal(t, "valve", thingOf(t, a, c))
	})
	t.Run("allows no second thing", func(t *testing.T) {
		a, c := setup(t)
		require.NoError(t, a.AttachThing("valve", c.ID, true))
		for _, exclusive := range []bool{false, true} {
			refused(t, a.AttachThing("pump", c.ID, exclusive))
		}
		assert.Equal(t, "valve", thingOf(t, a, c))
	})
	t.Run("is refused to a certificate that has another thing", func(t *testing.T) {
		a, c := setup(t)
		require.NoError(t, a.AttachThing("pump", c.ID, false))
		refused(t, a.AttachThing("valve", c.ID, true))
		assert.Empty(t, thingOf(t, a, c))
	})
	t.Run("ends when it is detached", func(t *testing.T) {
		a, c := setup(t)
		require.NoError(t, a.AttachThing("valve", c.ID, true))
		require.NoError(t, a.DetachThing("valve", c.ID))
		refused(t, a.AttachThing("pump", c.ID, false))
		a.now = a.now.Add(time.Second)
		for _, thing := range []string{"pump", "valve"} {
			require.NoError(t, a.AttachThing(thing, c.ID, false))
		}
		assert.Empty(t, thingOf(t, a, c))
	})
	t.Run("allows no registration as another thing", func(t *testing.T) {
		a, _ := setup(t)
		c := a.issue("third")
		require.NoError(t, a.AttachThing("valve", c.ID, true))
		_, err := a.Register(c.ID, activating("pump"), nil)
		refused(t, err)
		assert.Equal(t, iotregistry.PendingActivation, a.Status(c.ID))
		a.register(c, activating("valve"))
		valve, err := a.Thing("valve")
		require.NoError(t, err)
		assert.Len(t, valve.CertificateIDs, 2)
	})
}

// keptBy returns an account that begins with what another one has kept.
func keptBy(t *testing.T, a *account) *account {
	t.Helper()
	b := newAccount(t)
	require.NoError(t, a.KeepChanges(func(all []iotregistry.Change) error {
		for _, change := range all {
			line, err := json.Marshal(change)
			require.NoError(t, err)
			var read iotregistry.Change
			require.NoError(t, json.Unmarshal(line, &read))
			require.NoError(t, b.Replay(read))
		}
		return nil
	}, func(iotregistry.Change) {}))
	return b
}
