package flow_test

import (
	"context"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestVerificationConnectsAsTheDevice(t *testing.T) {
	server, states, trusted := newAWSServer(t)
	for name, opts := range map[string][]fleetprov.Option{
		"with a key made by AWS":        nil,
		"with a key made on the device": {fleetprov.WithGeneratedKey()},
		"with a key in hardware":        {fleetprov.WithPrivateKey(provtest.HardwareKey{Signer: devicekeyP256(t)})},
		"with a fixed client id":        {fleetprov.WithClientID("gateway-7")},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(server.Requests())
			var steps []fleetprov.Op
			opts := append(opts, trusted, dialTo(server), fleetprov.WithVerification(),
				fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
					if p.Done {
						steps = append(steps, p.Op)
					}
				}))
			provisioner, err := fleetprov.New(awsHost+":443", provtest.Template, provtest.Claim(t, server), opts...)
			require.NoError(t, err)
			credentials, err := provisioner.Provision(provtest.Context(t), map[string]string{"SerialNumber": "12345"})
			require.NoError(t, err)

			requests := server.Requests()[before:]
			require.Len(t, requests, 5)
			assert.Equal(t, fleetprovtest.OpConnect, requests[4].Op)
			assert.Equal(t, "12345", requests[4].ClientID, "the thing name")
			assert.NotEqual(t, "12345", requests[0].ClientID)
			state := states.last(t)
			assert.Equal(t, string(credentials.CertificatePEM), string(provtest.PEM("CERTIFICATE", state.PeerCertificates[0].Raw)))
			assert.Equal(t, awsHost, state.ServerName)
			assert.Equal(t, "x-amzn-mqtt-ca", state.NegotiatedProtocol)
			assert.Equal(t, fleetprov.OpVerify, steps[len(steps)-1])
		})
	}
	provtest.NoGoroutineLeft(t)
}

func TestNothingIsVerifiedUnlessAskedFor(t *testing.T) {
	server := provtest.NewServer(t)
	provtest.Provisioned(t, server)
	assert.Len(t, server.Requests(), 4)
}

// AWS IoT names no thing if the template makes none.
func TestVerificationWithoutAThingName(t *testing.T) {
	server := provtest.NewServer(t)
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{
		Raw: verifyMessage("$aws/provisioning-templates/test-template/provision/json/accepted", "{}")})
	credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithVerification()).Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Empty(t, credentials.ThingName)

	requests := server.Requests()
	require.Len(t, requests, 5)
	assert.Equal(t, fleetprovtest.OpConnect, requests[4].Op)
	assert.NotEmpty(t, requests[4].ClientID)
	assert.NotEqual(t, requests[0].ClientID, requests[4].ClientID, "each connection has its own")
	assert.True(t, strings.HasPrefix(requests[4].ClientID, "fleetprov-"))
}

// verifyMessage is a PUBLISH at QoS 0 (MQTT 3.1.1, section 3.3).
func verifyMessage(topic, payload string) []byte {
	packet := []byte{0x30, byte(2 + len(topic) + len(payload))}
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(topic)))
	return append(append(packet, topic...), payload...)
}

func TestCertificateThatIsRefusedIsGivenTogetherWithTheError(t *testing.T) {
	for name, fault := range map[string]fleetprovtest.Fault{
		"CONNACK 7": {Reject: &fleetprovtest.Rejection{StatusCode: 7}},
		"CONNACK 5": {Reject: &fleetprovtest.Rejection{StatusCode: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification(), fleetprov.WithStepTimeout(35*time.Second), provtest.OneAttempt)
				server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim's
				for range 20 {
					server.Inject(fleetprovtest.OpConnect, fault)
				}
				began := time.Now()
				credentials, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": "12345"})
				assert.Equal(t, 35*time.Second, time.Since(began), "activation is given the time of a step")

				var failure *fleetprov.Error
				require.ErrorAs(t, err, &failure)
				assert.Equal(t, fleetprov.OpVerify, failure.Op)
				assert.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
				assert.False(t, fleetprov.Retryable(err))
				assert.ErrorContains(t, err, "iot:Connect on client/12345")

				require.NotNil(t, credentials)
				assert.Equal(t, "12345", credentials.ThingName)
				assert.Equal(t, failure.CertificateID, credentials.CertificateID)
				assert.NotEmpty(t, credentials.PrivateKeyPEM())
				assert.Equal(t, "ACTIVE", server.Certificates()[0].Status)
				asked := len(server.Requests()) - 4
				assert.Greater(t, asked, 2)
				assert.Less(t, asked, 8, "an endpoint is not hammered")
			})
		})
	}
}

func TestActivationMayLag(t *testing.T) {
	for name, faults := range map[string][]fleetprovtest.Fault{
		"refused twice": {{Reject: &fleetprovtest.Rejection{StatusCode: 7}}, {Reject: &fleetprovtest.Rejection{StatusCode: 7}}},
		"closed twice":  {{Disconnect: true}, {Disconnect: true}},
		"answered late": {{Delay: 9 * time.Second}},
		"one after the other": {{Reject: &fleetprovtest.Rejection{StatusCode: 5}}, {Disconnect: true},
			{Reject: &fleetprovtest.Rejection{StatusCode: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification(), fleetprov.WithStepTimeout(time.Minute), provtest.OneAttempt)
				server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim's
				for _, fault := range faults {
					server.Inject(fleetprovtest.OpConnect, fault)
				}
				credentials, err := provisioner.Provision(t.Context(), nil)
				assert.NoError(t, err)
				assert.NotNil(t, credentials)
				assert.Len(t, server.Certificates(), 1, "one is enough")
			})
		})
	}
}

func TestVerificationEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification(), provtest.OneAttempt)
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{})
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Drop: true})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		credentials, err := provisioner.Provision(ctx, nil)
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assertOp(t, fleetprovtest.Op(fleetprov.OpVerify), err)
		assert.NotNil(t, credentials)
	})
}

// refuseVerification lets the device's certificate be refused for as long as a step has.
// The claim, if it connects before, does.
func refuseVerification(server *fleetprovtest.Server, claim bool) {
	if claim {
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{})
	}
	for range 3 { // after 0, 10 and 20 of the 30 seconds of a step
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 7}})
	}
}

// Credentials that were never verified are not returned without an error, whatever
// becomes of the journal.
func TestAVerificationIsNotForgotten(t *testing.T) {
	for name, test := range map[string]struct {
		fail   func(server *fleetprovtest.Server) func(op, name string) error
		damage func(journal []byte) []byte
	}{
		"when the accepted journal cannot be written": {fail: func(server *fleetprovtest.Server) func(op, name string) error {
			return func(op, name string) error {
				if op == "put" && name == "pending.pem" && len(server.Things()) > 0 {
					return syscall.EIO
				}
				return nil
			}
		}},
		"when the journal cannot be read later": {damage: func([]byte) []byte { return []byte("damaged") }},
		"when the journal is torn":              {damage: func(journal []byte) []byte { return journal[:len(journal)/2] }},
		"when the journal is of a newer version": {damage: func(journal []byte) []byte {
			return append(provtest.PEM("FLEETPROV JOURNAL", []byte(`{"version":2}`)), journal...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification(), fleetprov.WithLogger(nil))
				store := provtest.NewMemStore()
				if test.fail != nil {
					store.Fail = test.fail(server)
				}
				refuseVerification(server, true)
				first, err := provisioner.Ensure(t.Context(), store, nil)
				require.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
				store.Fail = nil
				if test.damage != nil {
					store.Files["pending.pem"] = test.damage(store.Files["pending.pem"])
				}
				for range 2 {
					refuseVerification(server, false)
					again, err := provisioner.Ensure(t.Context(), store, nil)
					require.ErrorIs(t, err, fleetprov.ErrNotAuthorized)
					assertOp(t, fleetprovtest.Op(fleetprov.OpVerify), err)
					assert.Equal(t, first, again)
				}
				again, err := provisioner.Ensure(t.Context(), store, nil)
				require.NoError(t, err)
				assert.Equal(t, first, again)
				assert.Empty(t, again.AbandonedCertificateIDs, "it is the device's own")
				assert.NotContains(t, store.Names(), "pending.pem")
				_, err = provisioner.Ensure(t.Context(), readOnly{store, t}, nil)
				require.NoError(t, err)
				assert.Len(t, server.Certificates(), 1)
			})
		})
	}
}

// A damaged journal may be about another certificate than the stored one. It goes, and
// what it named does not.
func TestAVerificationKeepsWhatADamagedJournalNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification(), fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		register(server, lost)
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Renew(ctx, store, renewalParameters)
			return err
		})
		store.Files["pending.pem"] = store.Files["pending.pem"][:len(store.Files["pending.pem"])-100]
		again, err := provisioner.Ensure(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, again.CertificateID)
		assert.Equal(t, issued(server)[1:], again.AbandonedCertificateIDs)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, again, loaded)
		assert.Len(t, setAside(store), 1)
	})
}
