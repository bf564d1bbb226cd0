package flow_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// dialPipes dials a server that listens on pipes.
func dialPipes(server *fleetprovtest.Server) fleetprov.Option {
	return fleetprov.WithDialer(server.Listener.(*fleetprovtest.PipeListener).Dial)
}

// AWS IoT closes a connection when another one comes under the same client id. Where
// others may use it, that is said at each step, with what to do.
func TestWhoElseMayUseTheClientID(t *testing.T) {
	for _, op := range ops {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const taken = "another one comes under the same client id"
				server, provisioner := provtest.OnPipes(t, provtest.OneAttempt, fleetprov.WithClientID("gateway-7"))
				server.Inject(op, fleetprovtest.Fault{Disconnect: true})
				_, err := provisioner.Provision(t.Context(), nil)
				require.ErrorIs(t, err, fleetprov.ErrConnectionLost)
				assertOp(t, op, err)
				assert.ErrorContains(t, err, taken+", gateway-7: give each device one of its own, or do without WithClientID")

				provisioner = provtest.NewProvisioner(t, server, provtest.OneAttempt, dialPipes(server))
				server.Inject(op, fleetprovtest.Fault{Disconnect: true})
				_, err = provisioner.Provision(t.Context(), nil)
				require.ErrorIs(t, err, fleetprov.ErrConnectionLost)
				assert.NotContains(t, err.Error(), "client id", "nobody else has this one")
			})
		})
	}
}

// A renewal under the thing name competes with the device's own session.
func TestARenewalSaysThatTheDevicesSessionMustBeClosed(t *testing.T) {
	const closed = "another one comes under the same client id, device-1, which is that of the device's own session: close that first"
	parameters := map[string]string{"SerialNumber": "device-1"}
	for _, op := range append([]fleetprovtest.Op{"Verify"}, ops...) {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t)
				store := provtest.NewMemStore()
				first, err := provisioner.Ensure(t.Context(), store, parameters)
				require.NoError(t, err)
				identity, err := first.Identity()
				require.NoError(t, err)
				renewer, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, provtest.OneAttempt, dialPipes(server))
				require.NoError(t, err)
				if op != "Verify" {
					server.Inject(op, fleetprovtest.Fault{Disconnect: true})
				} else {
					server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the one that renews
					for range 5 {
						server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
					}
				}
				_, err = renewer.Renew(t.Context(), store, parameters)
				assertOp(t, op, err)
				require.ErrorIs(t, err, fleetprov.ErrConnectionLost)
				assert.ErrorContains(t, err, closed)
			})
		})
	}
}

// withTemplate starts a server whose only template makes a certificate of that status,
// and no thing.
func withTemplate(t *testing.T, status, policy string, opts ...fleetprov.Option) (*fleetprovtest.Server, *fleetprov.Provisioner) {
	t.Helper()
	server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) { server.DevicePolicy = policy })
	require.NoError(t, server.AddTemplate("no-thing", `{"Resources":{
		"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"`+status+`"}},
		"policy":{"Type":"AWS::IoT::Policy","Properties":{"PolicyName":"device"}}}}`))
	provisioner, err := fleetprov.New(server.Endpoint(), "no-thing", provtest.Claim(t, server),
		append(opts, fleetprov.WithDialer(listener.Dial), fleetprov.WithVerification())...)
	require.NoError(t, err)
	return server, provisioner
}

// A template that makes no thing is accepted, and the device cannot connect: that is
// said at once and in the error.
func TestATemplateThatMakesNoThing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := standardLog(t)
		_, provisioner := withTemplate(t, "Active", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*",
			"Condition":{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}}]}`)
		credentials, err := provisioner.Provision(t.Context(), nil)
		require.NotNil(t, credentials)
		assert.Empty(t, credentials.ThingName)
		assertOp(t, fleetprovtest.Op(fleetprov.OpVerify), err)
		assert.ErrorContains(t, err, "the template has no AWS::IoT::Thing")
		assert.NotContains(t, err.Error(), "client id", "nobody else has this one")
		assert.Contains(t, output.String(), `the template has no AWS::IoT::Thing, so that the device has no thing name to connect under (template "no-thing")`)
	})
}

func TestATemplateThatLeavesTheCertificateInactive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := withTemplate(t, "Inactive", "")
		credentials, err := provisioner.Provision(t.Context(), nil)
		require.NotNil(t, credentials)
		assertOp(t, fleetprovtest.Op(fleetprov.OpVerify), err)
		assert.Regexp(t, "the template sets (the certificate's|its) Status to (IN)?ACTIVE", err)
		assert.Equal(t, fleetprovtest.StatusInactive, server.Certificates()[0].Status)
	})
}

// What a thing is called is the server's word, and is shown as such.
func TestThingNamesAreQuotedInAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification(), fleetprov.WithLogger(nil))
		server.Inject(fleetprovtest.OpRegisterThing, acceptedAs(`{"thingName":"pump\n7\u001b[2J"}`))
		credentials, err := provisioner.Provision(t.Context(), nil)
		require.Error(t, err, "the server has not registered it")
		assert.Equal(t, "pump\n7\x1b[2J", credentials.ThingName)
		assert.ErrorContains(t, err, `client/"pump\n7\x1b[2J"`)
		assert.NotContains(t, err.Error(), "\n")
		assert.NotContains(t, err.Error(), "\x1b")
	})
}

// A code that says that it can pass decides before the status.
func TestACodeThatCanPassIsTriedAgain(t *testing.T) {
	for _, rejection := range []fleetprovtest.Rejection{
		{StatusCode: 400, Code: "ThrottlingException", Message: "Rate exceeded"},
		{StatusCode: 409, Code: "ConflictingResourceUpdateException"},
		{StatusCode: 409, Code: "CONFLICTING_RESOURCE_UPDATE"},
		{StatusCode: 400, Code: "InternalFailureException"},
	} {
		for _, op := range []fleetprovtest.Op{fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.OpRegisterThing} {
			t.Run(rejection.Code+" of "+string(op), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
					for range 3 {
						server.Inject(op, fleetprovtest.Fault{Reject: &rejection})
					}
					credentials, err := provisioner.Provision(t.Context(), nil)
					require.NoError(t, err)
					assert.Equal(t, server.Certificates()[0].ID, credentials.CertificateID)
					assert.Equal(t, 4, count(server, op))
				})
			})
		}
	}
}
