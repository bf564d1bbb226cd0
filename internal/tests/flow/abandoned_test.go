package flow_test

import (
	"context"
	"crypto"
	"net"
	"strings"
	"sync/atomic"
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

var (
	// lost is an answer that never comes. What was asked for is done.
	lost = fleetprovtest.Fault{Disconnect: true}

	tokenRefused = fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "InvalidCertificateOwnershipToken", Message: "The token is not valid"}}
	hookRefused  = fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403, Code: "AccessDenied", Message: "Not now"}}
)

// register injects faults into the registrations to come.
func register(server *fleetprovtest.Server, faults ...fleetprovtest.Fault) {
	for _, fault := range faults {
		server.Inject(fleetprovtest.OpRegisterThing, fault)
	}
}

// issued are the ids of the certificates of a server.
func issued(server *fleetprovtest.Server) (ids []string) {
	for _, certificate := range server.Certificates() {
		ids = append(ids, certificate.ID)
	}
	return ids
}

// cut runs a job and ends it at its first failure that it would try again, as a power
// cut would that lasts until the device need not wait any more.
func cut(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, run(ctx), context.DeadlineExceeded)
	<-time.After(time.Minute)
}

// Who starts over although a certificate may be active names it.
func TestACertificateWhoseAnswerWasLostIsNamed(t *testing.T) {
	for name, fault := range map[string]fleetprovtest.Fault{
		"connection lost":        lost,
		"no answer":              {Drop: true},
		"a failure inside AWS":   {Reject: &fleetprovtest.Rejection{StatusCode: 500, Code: "InternalFailure"}},
		"a refusal without form": {Reject: &fleetprovtest.Rejection{}, Response: []byte("go away")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				output := standardLog(t)
				server, provisioner := provtest.OnPipes(t)
				register(server, fault, tokenRefused)
				credentials, err := provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				ids := issued(server)
				require.Len(t, ids, 2)
				assert.Equal(t, ids[1], credentials.CertificateID)
				assert.Equal(t, ids[:1], credentials.AbandonedCertificateIDs)
				assert.Contains(t, output.String(), `a certificate that may be active is given up, since its ownership token was refused: deactivate it in AWS IoT (certificateId "`+ids[0])
				data, err := credentials.MarshalPEM()
				require.NoError(t, err)
				again, err := fleetprov.ParseCredentials(data)
				require.NoError(t, err)
				assert.Equal(t, credentials, again)

				// A caller may change what it was given.
				again.AbandonedCertificateIDs[0] = ""
				assert.Equal(t, ids[:1], credentials.AbandonedCertificateIDs)
			})
		})
	}
}

// Where AWS has said no, there is nothing to deactivate.
func TestACertificateThatAWSRefusedIsNotNamed(t *testing.T) {
	for name, faults := range map[string][]fleetprovtest.Fault{
		"a token refused at once":          {tokenRefused},
		"a throttled request":              {throttled, tokenRefused},
		"a throttled request, with a code": {{Reject: &fleetprovtest.Rejection{StatusCode: 400, Code: "ThrottlingException"}}, tokenRefused},
		"a change that was under way":      {{Reject: &fleetprovtest.Rejection{StatusCode: 409, Code: "ConflictingResourceUpdateException"}}, tokenRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
				register(server, faults...)
				credentials, err := provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				assert.Equal(t, 2, count(server, fleetprovtest.OpCreateKeysAndCertificate), "it has started over, in the attempt")
				assert.Equal(t, issued(server)[1], credentials.CertificateID)
				assert.Empty(t, credentials.AbandonedCertificateIDs)
			})
		})
	}
}

// A token that is refused twice in an attempt is an error: something else is wrong.
func TestATokenIsRefusedOnceInAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		register(server, tokenRefused, tokenRefused)
		_, err := provisioner.Provision(t.Context(), nil)
		assertOp(t, fleetprovtest.OpRegisterThing, err)
		assert.ErrorContains(t, err, "the ownership token is not good any more")
		assert.Equal(t, 2, count(server, fleetprovtest.OpCreateKeysAndCertificate))
	})
}

// What is given up stays named when the power fails again and again.
func TestWhatIsGivenUpOutlivesPowerCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		ensure := func(ctx context.Context) error {
			_, err := provisioner.Ensure(ctx, store, nil)
			return err
		}
		register(server, lost)
		cut(t, ensure)
		register(server, tokenRefused) // before there is another
		server.Inject(fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Drop: true, Reject: &fleetprovtest.Rejection{}})
		cut(t, ensure)
		register(server, tokenRefused, lost) // while the other one is registered
		cut(t, ensure)
		register(server, tokenRefused)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		ids := issued(server)
		require.Len(t, ids, 3)
		assert.Equal(t, ids[2], credentials.CertificateID)
		assert.Equal(t, ids[:2], credentials.AbandonedCertificateIDs)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, credentials, loaded)

		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, ids[:2], renewed.AbandonedCertificateIDs, "a renewal does not forget them")
	})
}

// A device that a hook keeps waiting for weeks has nothing to name: each of its
// certificates was refused in words, and AWS has deleted it.
func TestADeviceThatWaitsForItsHookNamesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) {
			server.Hook = func(fleetprovtest.HookRequest) fleetprovtest.HookResponse {
				return fleetprovtest.HookResponse{AllowProvisioning: allowed.Load()}
			}
		})
		provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(listener.Dial), fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		for range 5 {
			_, err := provisioner.Ensure(t.Context(), store, nil)
			assertOp(t, fleetprovtest.OpRegisterThing, err)
			server.Advance(2 * time.Hour)
			<-time.After(2 * time.Hour)
			// An Ensure without a network changes nothing.
			offline, err := fleetprov.New(server.Endpoint(), provtest.Template, provtest.Claim(t, server), provtest.OneAttempt, unplugged)
			require.NoError(t, err)
			_, err = offline.Ensure(t.Context(), store, nil)
			require.ErrorIs(t, err, syscall.ENETUNREACH)
		}
		allowed.Store(true)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Empty(t, credentials.AbandonedCertificateIDs)
		assert.Equal(t, 6, count(server, fleetprovtest.OpCreateKeysAndCertificate))
	})
}

// unplugged is no network.
var unplugged = fleetprov.WithDialer(func(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
})

// What was refused once may be accepted later, with an answer that is lost.
func TestARefusalIsForgottenWhenTheNextAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		register(server, hookRefused)
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.Error(t, err)
		register(server, lost)
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Ensure(ctx, store, nil)
			return err
		})
		require.Len(t, server.Things(), 1)
		register(server, tokenRefused)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, issued(server)[:1], credentials.AbandonedCertificateIDs)
	})
}

// A journal that this run cannot use may be about a certificate that is active.
func TestTheCertificateOfAJournalThatIsSetAsideIsNamed(t *testing.T) {
	key := provtest.NewHardwareKey(t)
	for name, test := range map[string]struct {
		first, second []fleetprov.Option
		damage        func(journal []byte) []byte
		template      string
		endpoint      string
	}{
		"of another template": {template: "other-template"},
		"of another endpoint": {endpoint: "localhost:8884"},
		"damaged": {damage: func(journal []byte) []byte {
			journal[40] ^= 1
			return journal
		}},
		"without its certificate": {damage: func(journal []byte) []byte {
			before, _, _ := strings.Cut(string(journal), "-----BEGIN CERTIFICATE")
			return []byte(before)
		}},
		"without its metadata": {damage: func(journal []byte) []byte {
			_, after, _ := strings.Cut(string(journal), "-----BEGIN CERTIFICATE")
			return []byte("-----BEGIN CERTIFICATE" + after)
		}},
		"whose key is not there":  {first: []fleetprov.Option{fleetprov.WithPrivateKey(key)}},
		"whose key is another":    {first: []fleetprov.Option{fleetprov.WithPrivateKey(key)}, second: []fleetprov.Option{fleetprov.WithPrivateKey(provtest.NewHardwareKey(t))}},
		"whose key was generated": {first: []fleetprov.Option{fleetprov.WithGeneratedKey()}, damage: func(journal []byte) []byte { return append(journal, "-----BEGIN X-----\n-----END X-----\n"...) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, append(test.first, fleetprov.WithLogger(nil))...)
				require.NoError(t, server.AddTemplate("other-template", `{"Resources":{
					"certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"Active"}}}}`))
				store := provtest.NewMemStore()
				register(server, lost)
				cut(t, func(ctx context.Context) error {
					_, err := provisioner.Ensure(ctx, store, nil)
					return err
				})
				journal := store.Files["pending.pem"]
				if test.damage != nil {
					journal = test.damage(journal)
					store.Files["pending.pem"] = journal
				}
				endpoint, template := server.Endpoint(), provtest.Template
				if test.endpoint != "" {
					endpoint = test.endpoint
				}
				if test.template != "" {
					template = test.template
				}
				another, err := fleetprov.New(endpoint, template, provtest.Claim(t, server), append(test.second, fleetprov.WithLogger(nil), dialPipes(server))...)
				require.NoError(t, err)

				// The power fails before there is another certificate, too.
				server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
				cut(t, func(ctx context.Context) error {
					_, err := another.Ensure(ctx, store, nil)
					return err
				})
				credentials, err := another.Ensure(t.Context(), store, nil)
				require.NoError(t, err)
				ids := issued(server)
				require.Len(t, ids, 2)
				assert.Equal(t, ids[1], credentials.CertificateID)
				assert.Equal(t, ids[:1], credentials.AbandonedCertificateIDs)
				assert.Equal(t, [][]byte{journal}, setAside(store), "the key may be of use still")
			})
		})
	}
}

// A key that cannot be asked is not a key that is gone.
type silentKey struct {
	*provtest.HardwareKey
	silent bool
}

func (k *silentKey) Public() crypto.PublicKey {
	if k.silent {
		return nil
	}
	return k.HardwareKey.Public()
}

func TestAKeyThatDoesNotAnswerSetsNothingAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := &silentKey{provtest.NewHardwareKey(t), false}
		server, provisioner := provtest.OnPipes(t, fleetprov.WithPrivateKey(key))
		store := provtest.NewMemStore()
		register(server, lost)
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Ensure(ctx, store, nil)
			return err
		})
		key.silent = true
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.Error(t, err)
		assert.NotErrorIs(t, err, fleetprov.ErrKeyMissing)
		assert.NotErrorIs(t, err, fleetprov.ErrKeyMismatch)
		assert.Empty(t, setAside(store))
		key.silent = false
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, issued(server), []string{credentials.CertificateID})
	})
}

// Credentials that AWS has accepted, and whose key is gone, are not given up by the
// device: the error says what holds them, which certificate it is, and what to do.
func TestAnAcceptedJournalWhoseKeyIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithPrivateKey(provtest.NewHardwareKey(t)))
		store := provtest.NewMemStore()
		store.Fail = failing("put", "credentials.pem")
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.EIO)
		store.Fail = nil
		for name, test := range map[string]struct {
			opts []fleetprov.Option
			is   error
		}{
			"missing": {nil, fleetprov.ErrKeyMissing},
			"another": {[]fleetprov.Option{fleetprov.WithPrivateKey(provtest.NewHardwareKey(t))}, fleetprov.ErrKeyMismatch},
		} {
			_, err := provtest.NewProvisioner(t, server, append(test.opts, noDial(t))...).Ensure(t.Context(), store, nil)
			assert.ErrorIs(t, err, test.is, name)
			assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
			assert.ErrorContains(t, err, "pending.pem holds credentials that AWS has accepted")
			assert.ErrorContains(t, err, "delete pending.pem")
			assert.ErrorContains(t, err, first.CertificateID)
		}
		assert.Empty(t, setAside(store))
	})
}

// The device of a renewal has an identity all the same.
func TestAnAcceptedRenewalWhoseKeyIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner, keyring := onKeyring(t)
		store := provtest.NewMemStore()
		old, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		store.Fail = failing("put", "credentials.pem")
		renewed, err := provisioner.Renew(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.EIO)
		store.Fail = nil
		keyring.Remove("fleetprov-2")

		_, err = provisioner.Renew(t.Context(), store, nil)

		assert.ErrorIs(t, err, fleetprov.ErrKeyMissing)
		assertOp(t, fleetprovtest.Op(fleetprov.OpStore), err)
		assert.ErrorContains(t, err, "pending.pem holds renewed credentials that AWS has accepted")
		assert.ErrorContains(t, err, "delete pending.pem to renew again, and deactivate the certificate: the device goes on with the stored credentials")
		assert.ErrorContains(t, err, renewed.CertificateID)
		assert.NotContains(t, err.Error(), "anew")
		booted, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, old.CertificateID, booted.CertificateID)
	})
}

// What is stored already is not said to be stored nowhere.
func TestARenewalThatIsDoneButForItsJournalAndWhoseKeyIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, provisioner, keyring := onKeyring(t)
		store := provtest.NewMemStore()
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		store.Fail = failing("delete", "pending.pem")
		_, err = provisioner.Renew(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.EIO)
		store.Fail = nil
		keyring.Remove("fleetprov-2")

		_, err = provisioner.Renew(t.Context(), store, nil)

		assert.ErrorIs(t, err, fleetprov.ErrKeyMissing)
		assert.ErrorContains(t, err, "credentials.pem: ")
		assert.NotContains(t, err.Error(), "delete pending.pem")
	})
}

// failing makes one operation of a store fail.
func failing(op, name string) func(string, string) error {
	return func(o, n string) error {
		if o == op && n == name {
			return syscall.EIO
		}
		return nil
	}
}

// Credentials that cannot be read any more are active all the same.
func TestTheCertificateOfDamagedCredentialsIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		file := store.Files["credentials.pem"]
		file[len(file)-100] ^= 1 // in the key
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Ensure(ctx, store, nil)
			return err
		})
		second, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.NotEqual(t, first.CertificateID, second.CertificateID)
		assert.Equal(t, []string{first.CertificateID}, second.AbandonedCertificateIDs)
		assert.Equal(t, [][]byte{file}, setAside(store))
	})
}

// When both files are damaged, or the journal is, none is its own abandoned one.
func TestADamagedFileBesideItsSoundJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		register(server, lost)
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Ensure(ctx, store, nil)
			return err
		})
		journal := store.Files["pending.pem"]
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		store.Files["pending.pem"] = journal
		store.Files["credentials.pem"] = store.Files["credentials.pem"][:len(store.Files["credentials.pem"])-100]
		again, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, first, again, "the journal had it")
		assert.Len(t, server.Certificates(), 1)
	})
}

// renewing is a device with credentials, whose renewal was registered without an answer.
func renewing(t *testing.T, opts ...fleetprov.Option) (server *fleetprovtest.Server, provisioner *fleetprov.Provisioner, store *provtest.MemStore, old *fleetprov.Credentials) {
	t.Helper()
	server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) {
		server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site"}
	})
	provisioner = provtest.NewProvisioner(t, server, append([]fleetprov.Option{fleetprov.WithDialer(listener.Dial), fleetprov.WithLogger(nil)}, opts...)...)
	store = provtest.NewMemStore()
	old, err := provisioner.Ensure(t.Context(), store, renewalParameters)
	require.NoError(t, err)
	register(server, lost)
	cut(t, func(ctx context.Context) error {
		_, err := provisioner.Renew(ctx, store, renewalParameters)
		return err
	})
	register(server, tokenRefused)
	return server, provisioner, store, old
}

var renewalParameters = map[string]string{"SerialNumber": "device-1"}

// A renewal that was registered without an answer connects, and is the renewal.
func TestARenewalWhoseTokenIsRefusedIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner, store, old := renewing(t)
		renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		ids := issued(server)
		require.Len(t, ids, 2, "nothing was made in vain")
		assert.Equal(t, ids[1], renewed.CertificateID)
		assert.Equal(t, old.CertificateID, renewed.PreviousCertificateID)
		assert.Empty(t, renewed.AbandonedCertificateIDs)
		assert.Equal(t, "device-1", renewed.ThingName)
		assert.Equal(t, old.DeviceConfiguration, renewed.DeviceConfiguration, "AWS's answer is lost")
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, renewed, loaded)
		assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, store.Names())
	})
}

// The same where the device renews with its own identity, under the client id that the
// renewal is tried with.
func TestARenewalWithTheDevicesIdentityWhoseTokenIsRefusedIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, store, old := renewing(t)
		identity, err := old.Identity()
		require.NoError(t, err)
		renewer, err := fleetprov.New(server.Endpoint(), provtest.Template, identity, dialPipes(server))
		require.NoError(t, err)
		seen := len(server.Requests())
		renewed, err := renewer.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		assert.Equal(t, issued(server)[1], renewed.CertificateID)
		var last time.Time
		for _, request := range server.Requests()[seen:] {
			if request.Op == fleetprovtest.OpConnect {
				assert.Equal(t, "device-1", request.ClientID)
				assert.GreaterOrEqual(t, request.Time.Sub(last), 10*time.Second)
				last = request.Time
			}
		}
	})
}

// A certificate that AWS does not let in is given up, and named.
func TestARenewalThatAWSRefusesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner, store, old := renewing(t)
		never := issued(server)[1]
		require.NoError(t, server.DeleteCertificate(never))
		renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		assert.Equal(t, old.CertificateID, renewed.PreviousCertificateID)
		assert.Equal(t, issued(server)[1], renewed.CertificateID)
		assert.Equal(t, []string{never}, renewed.AbandonedCertificateIDs)
	})
}

// A network that fails in that moment says nothing of the certificate.
func TestARenewalIsNotGivenUpForANetworkThatFails(t *testing.T) {
	for name, fails := range map[string]func(*fleetprovtest.Server) fleetprov.Option{
		"nothing is dialled": func(server *fleetprovtest.Server) fleetprov.Option {
			dials := 0
			return fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials++; dials > 1 && dials < 5 {
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
				}
				return server.Listener.(*fleetprovtest.PipeListener).Dial(ctx, network, address)
			})
		},
		"the connection breaks in the answer to CONNECT": func(server *fleetprovtest.Server) fleetprov.Option {
			server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{}) // the claim's
			server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Raw: []byte{0x20}, Disconnect: true})
			return dialPipes(server)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, _, store, _ := renewing(t)
				register(server, tokenRefused) // the next attempt hears it again
				provisioner := provtest.NewProvisioner(t, server, fleetprov.WithLogger(nil), fleetprov.WithStepTimeout(5*time.Second), fails(server))
				renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
				require.NoError(t, err)
				assert.Equal(t, 4, count(server, fleetprovtest.OpRegisterThing), "the first two, and two that were refused")
				require.Len(t, issued(server), 2)
				assert.Equal(t, issued(server)[1], renewed.CertificateID)
				assert.Empty(t, renewed.AbandonedCertificateIDs)
			})
		})
	}
}

// The same when the caller's context ends there.
func TestARenewalIsNotGivenUpWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner, store, _ := renewing(t)
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{})           // the claim's
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Drop: true}) // the renewal's
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Renew(ctx, store, renewalParameters)
			return err
		})
		register(server, tokenRefused)
		renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		require.Len(t, issued(server), 2)
		assert.Equal(t, issued(server)[1], renewed.CertificateID)
	})
}

// An answer that says yes and cannot be read is asked for once more, with the same
// token. What is known of the thing is kept.
func TestARegistrationWhoseAnswerCannotBeRead(t *testing.T) {
	unreadable := acceptedAs(`{"thingName":7}`)
	for name, test := range map[string]struct {
		faults []fleetprovtest.Fault
		thing  string
		fails  bool
	}{
		"once":                       {[]fleetprovtest.Fault{unreadable}, "device-1", false},
		"twice":                      {[]fleetprovtest.Fault{unreadable, unreadable}, "", true},
		"and the token is used":      {[]fleetprovtest.Fault{unreadable, tokenRefused}, "", true},
		"after a throttled request":  {[]fleetprovtest.Fault{throttled, unreadable, throttled}, "device-1", false},
		"but for the thing's name":   {[]fleetprovtest.Fault{acceptedAs(`{"thingName":"device-2","deviceConfiguration":7}`)}, "device-2", true},
		"and then refused in words":  {[]fleetprovtest.Fault{unreadable, hookRefused}, "", true},
		"and then the end of a loop": {[]fleetprovtest.Fault{unreadable, lost}, "device-1", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
				store := provtest.NewMemStore()
				register(server, test.faults...)
				credentials, err := provisioner.Ensure(t.Context(), store, renewalParameters)
				assert.Equal(t, test.fails, err != nil, "%v", err)
				if test.fails {
					assert.Equal(t, 1, strings.Count(err.Error(), "keep the credentials that come with this error"), "%v", err)
					assert.NotContains(t, err.Error(), "Go ")
				}
				require.NotNil(t, credentials, "AWS has accepted it")
				assert.Equal(t, issued(server), []string{credentials.CertificateID})
				assert.Equal(t, test.thing, credentials.ThingName)
				assert.Empty(t, credentials.AbandonedCertificateIDs)
				loaded, err := fleetprov.LoadCredentials(t.Context(), store)
				require.NoError(t, err)
				assert.Equal(t, credentials, loaded)
			})
		})
	}
}

// A renewal is of a thing whose name is known.
func TestARenewalWhoseAnswerCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		old, err := provisioner.Ensure(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		register(server, lost, acceptedAs(`{"thingName":7}`), acceptedAs(`{"thingName":7}`))
		renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
		assert.ErrorIs(t, err, fleetprov.ErrBadResponse)
		assert.Equal(t, issued(server)[1], renewed.CertificateID)
		assert.Equal(t, old.ThingName, renewed.ThingName)
		loaded, err := fleetprov.LoadCredentials(t.Context(), store)
		require.NoError(t, err)
		assert.Equal(t, renewed, loaded, "they have connected as the thing")
	})
}

// New credentials that no file holds are kept for the next call: AWS is not asked for
// others again and again.
func TestARenewalWhoseJournalCannotBeWrittenIsNotMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t, func(server *fleetprovtest.Server) {
			server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site"}
		})
		provisioner := provtest.NewProvisioner(t, server, fleetprov.WithDialer(listener.Dial), fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		old, err := provisioner.Ensure(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		writes := 0
		store.Fail = func(op, _ string) error {
			if op == "put" {
				if writes++; writes > 2 { // after the proof and the journal of the certificate
					return syscall.ENOSPC
				}
			}
			return nil
		}
		first, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NotNil(t, first)
		first.DeviceConfiguration["FallbackUrl"] = "changed by the caller"
		for range 3 {
			again, err := provisioner.Renew(t.Context(), store, renewalParameters)
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.NotNil(t, again)
			assert.Equal(t, first.CertificateID, again.CertificateID)
			again.DeviceConfiguration["FallbackUrl"] = "changed by the caller"
		}
		store.Fail = nil
		renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, renewed.CertificateID)
		assert.Equal(t, old.CertificateID, renewed.PreviousCertificateID)
		assert.Equal(t, old.DeviceConfiguration, renewed.DeviceConfiguration)
		assert.Len(t, issued(server), 2)
		assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, store.Names())

		third, err := provisioner.Renew(t.Context(), store, renewalParameters)
		require.NoError(t, err)
		assert.NotEqual(t, renewed.CertificateID, third.CertificateID, "the next one is a renewal of its own")
	})
}

// A renewal that is stored, but whose journal does not say that AWS accepted it, is not
// registered again: it would name itself as the one to deactivate.
func TestARenewalThatIsStoredIsNotItsOwnPredecessor(t *testing.T) {
	for _, hardware := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := []fleetprov.Option{fleetprov.WithLogger(nil)}
			if hardware {
				opts = append(opts, fleetprov.WithPrivateKey(provtest.NewHardwareKey(t)))
			}
			server, provisioner := provtest.OnPipes(t, opts...)
			store := provtest.NewMemStore()
			old, err := provisioner.Ensure(t.Context(), store, renewalParameters)
			require.NoError(t, err)
			writes := 0
			store.Fail = func(op, name string) error {
				if op == "put" && name == "pending.pem" {
					writes++
				}
				if name == "pending.pem" && (op == "delete" || op == "put" && writes > 2) {
					return syscall.EIO
				}
				return nil
			}
			renewed, err := provisioner.Renew(t.Context(), store, renewalParameters)
			require.ErrorIs(t, err, syscall.EIO, "the journal stays")
			store.Fail = nil
			restarted := provtest.NewProvisioner(t, server, append(opts, dialPipes(server))...)
			again, err := restarted.Renew(t.Context(), store, renewalParameters)
			require.NoError(t, err)
			assert.Equal(t, renewed, again)
			assert.Equal(t, old.CertificateID, again.PreviousCertificateID)
			assert.Len(t, issued(server), 2)
			assert.ElementsMatch(t, []string{"credentials.pem", "previous.pem"}, store.Names())
		})
	}
}

// A journal that names a certificate which was given up is not deleted to make room.
func TestAFullDiskDoesNotCostTheNameOfACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithLogger(nil))
		store := provtest.NewMemStore()
		register(server, lost)
		cut(t, func(ctx context.Context) error {
			_, err := provisioner.Ensure(ctx, store, nil)
			return err
		})
		writes := 0
		store.Fail = func(op, _ string) error {
			if op == "put" {
				if writes++; writes > 1 {
					return syscall.ENOSPC
				}
			}
			return nil
		}
		register(server, tokenRefused)
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.ErrorIs(t, err, syscall.ENOSPC)
		store.Fail = nil
		register(server, tokenRefused)
		credentials, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, issued(server)[:1], credentials.AbandonedCertificateIDs)
	})
}
