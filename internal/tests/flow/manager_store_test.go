package flow_test

import (
	"context"
	"io/fs"
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

// breaks makes the store fail while it is told to.
func (m *managed) breaks() *atomic.Bool {
	broken := new(atomic.Bool)
	m.store.Fail = func(op, name string) error {
		if broken.Load() {
			return syscall.EIO
		}
		return nil
	}
	return broken
}

func TestAStoreThatCannotBeReadAtBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		m := newManager(t, logger)
		stored, err := m.Credentials(t.Context())
		require.NoError(t, err)
		broken := m.breaks()
		broken.Store(true)
		r := m.start(t, sitting)
		after(time.Hour)
		assert.Empty(t, r.sessions())
		assert.Contains(t, log.String(), "there are no credentials yet; trying again in ")
		broken.Store(false)
		after(2 * time.Minute)
		require.Len(t, r.sessions(), 1)
		assert.Equal(t, stored, r.sessions()[0])
		assert.Equal(t, 1, m.claims, "an error of the store is not taken for an empty one")
		r.stop(t)
	})
}

// A device that has worked goes on with what it had, whatever becomes of its disk, and asks
// for nothing else while its certificate is good.
func TestAStoreThatIsLostLater(t *testing.T) {
	for name, lose := range map[string]func(*managed){
		"it breaks":       func(m *managed) { m.breaks().Store(true) },
		"it is erased":    func(m *managed) { delete(m.store.Files, "credentials.pem") },
		"it has a defect": func(m *managed) { m.store.Files["credentials.pem"] = []byte("damaged") },
	} {
		for and, lose2 := range map[string]func(*managed){
			"alone": func(*managed) {},
			"and the claim is erased": func(m *managed) {
				m.Claim = func(context.Context) (*fleetprov.Identity, error) { return nil, fs.ErrNotExist }
			},
			"and the network is lost": func(m *managed) { m.server.Close() },
		} {
			t.Run(name+" "+and, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log, logger := logged()
					m := newManager(t, logger)
					r := m.start(t, func(context.Context, *fleetprov.Credentials) error { after(time.Hour); return errBroker })
					after(time.Minute)
					lose(m)
					lose2(m)
					after(10 * time.Hour)
					require.Greater(t, len(r.sessions()), 8)
					for _, c := range r.sessions() {
						assert.Equal(t, r.sessions()[0].CertificateID, c.CertificateID)
					}
					assert.Contains(t, log.String(), "the device goes on with the credentials it had")
					assert.Equal(t, 1, m.claims)
					assert.Len(t, m.server.Certificates(), 1)
					r.end()
					<-r.err
				})
			})
		}
	}
}

// Without a network, the device works on with what it had, also when that has expired.
func TestAStoreThatIsLostAndCredentialsThatExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, func(context.Context, *fleetprov.Credentials) error { after(time.Hour); return errBroker })
		after(time.Minute)
		delete(m.store.Files, "credentials.pem")
		m.server.Close()
		after(40 * day)
		before := len(r.sessions())
		after(day)
		assert.Greater(t, len(r.sessions()), before+20)
		r.end()
		<-r.err
	})
}

// Two processes of one device find at the same time that a renewal is due: one renews.
func TestProcessesThatRenewAtOnce(t *testing.T) {
	for _, apart := range []time.Duration{0, 5 * time.Second, 30 * time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				store := provtest.NewLockedStore()
				m.Store = store
				other := *m
				other.Manager = &fleetprov.Manager{Endpoint: m.Endpoint, Template: m.Template, Claim: m.Claim, Store: store,
					Parameters: m.Parameters, RenewTemplate: m.RenewTemplate, RenewParameters: m.RenewParameters, Options: m.Options}
				r := m.start(t, sitting)
				after(apart)
				o := other.start(t, sitting)
				after(25 * day)
				require.Len(t, m.server.Certificates(), 2)
				for _, process := range []*running{r, o} {
					sessions := process.sessions()
					assert.Equal(t, m.server.Certificates()[1].ID, sessions[len(sessions)-1].CertificateID)
					process.stop(t)
				}
			})
		})
	}
}

func TestTheFirstProvisioning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		m.server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403, Code: "AccessDenied"}})
		err := m.Run(t.Context(), sitting)
		var rejected *fleetprov.RejectedError
		require.ErrorAs(t, err, &rejected, "for good")
		assert.Equal(t, 403, rejected.StatusCode)

		// With bounded attempts, Run is what tries again.
		m.Options = append(m.Options, fleetprov.WithMaxAttempts(1))
		for range 5 {
			m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		}
		r := m.start(t, sitting)
		after(10 * time.Minute)
		assert.Len(t, r.sessions(), 1)
		r.stop(t)
	})
}

// Nobody knows better than the server whether the certificate has expired.
func TestASessionWithExpiredCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		m := newManager(t, logger)
		m.RenewTemplate, m.Claim = "", nil
		m.store.Files["credentials.pem"] = expiring(t, time.Now())
		after(time.Minute)
		r := m.start(t, sitting)
		after(time.Hour)
		require.Len(t, r.sessions(), 1)
		assert.Equal(t, "of another time", r.sessions()[0].CertificateID)
		assert.Contains(t, log.String(), "the stored credentials are used all the same")
		assert.Contains(t, log.String(), "have expired by this clock")
		r.stop(t)
	})
}

func TestWhatIsWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		m := newManager(t, logger)
		m.RenewTemplate = ""
		m.store.Files["credentials.pem"] = expiring(t, time.Now().Add(366*day))
		const words = "expires within a year, and there is no RenewTemplate"
		r := m.start(t, sitting)
		after(day - time.Minute)
		assert.NotContains(t, log.String(), words)
		after(100 * day)
		assert.Equal(t, 1, strings.Count(log.String(), words), "in the middle of a session, and once")

		m.RequestRenewal()
		after(time.Minute)
		assert.Equal(t, 1, strings.Count(log.String(), "a renewal was requested, and there is no RenewTemplate"))
		assert.Len(t, r.sessions(), 1)
		r.stop(t)
	})
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		m := newManager(t, logger)
		r := m.start(t, sitting)
		after(day)
		r.stop(t)
		assert.NotContains(t, log.String(), "WARN", "one that is renewed")
	})
}

func TestWhatAManagerLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		var steps []fleetprov.Op
		m := newManager(t, logger, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Done && p.Op != fleetprov.OpStore {
				steps = append(steps, p.Op)
			}
		}))
		r := m.start(t, sitting, func(context.Context, *fleetprov.Credentials) error { return errBroker }, sitting)
		after(time.Minute)
		m.RequestRenewal()
		after(5 * time.Minute)
		r.stop(t)
		for _, words := range []string{
			`msg="a session begins" thingName=device-1`,
			`msg="the session is to end, for a renewal" certificateId=` + r.sessions()[0].CertificateID,
			`msg="the credentials are renewed" certificateId=` + r.sessions()[1].CertificateID,
			`msg="the session failed; another begins in `,
			`error="the broker does not answer"`,
		} {
			assert.Contains(t, log.String(), words)
		}
		provisioning := []fleetprov.Op{fleetprov.OpConnect, fleetprov.OpSubscribe, fleetprov.OpCreateCertificateFromCSR, fleetprov.OpRegisterThing}
		assert.Equal(t, append(append(provisioning, provisioning...), fleetprov.OpVerify), steps)
		assert.NotContains(t, log.String(), "PRIVATE KEY")
	})
}
