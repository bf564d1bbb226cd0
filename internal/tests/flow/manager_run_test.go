package flow_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

type session = func(context.Context, *fleetprov.Credentials) error

// sitting is a session that does nothing but work until its context ends.
func sitting(ctx context.Context, _ *fleetprov.Credentials) error {
	<-ctx.Done()
	return ctx.Err()
}

// running is a Manager whose Run runs.
type running struct {
	*managed
	end context.CancelFunc
	err chan error // of Run

	mu  sync.Mutex
	log sessionLog
}

// sessionLog is what has become of the sessions so far.
type sessionLog struct {
	sessions []*fleetprov.Credentials // whose each was
	began    []time.Time              // when each began
	causes   []error                  // of the ends of their contexts
	open     int                      // how many run now
}

// add notes a session, and returns which it is.
func (r *running) add(t *testing.T, c *fleetprov.Credentials) (number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.sessions, r.log.began = append(r.log.sessions, c), append(r.log.began, time.Now())
	if r.log.open++; r.log.open > 1 {
		t.Error("there are two sessions")
	}
	return len(r.log.sessions)
}

// remove notes the end of a session.
func (r *running) remove(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.open--
	r.log.causes = append(r.log.causes, context.Cause(ctx))
}

// seen returns what has become of the sessions so far.
func (r *running) seen() sessionLog {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log
}

func (r *running) sessions() []*fleetprov.Credentials { return r.seen().sessions }
func (r *running) began() []time.Time                 { return r.seen().began }
func (r *running) causes() []error                    { return r.seen().causes }
func (r *running) open() int                          { return r.seen().open }

// start runs the Manager with the sessions, the last of which is repeated, until the test
// ends.
func (m *managed) start(t *testing.T, sessions ...session) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{managed: m, end: cancel, err: make(chan error, 1)}
	go func() {
		r.err <- m.Run(ctx, func(ctx context.Context, c *fleetprov.Credentials) error {
			number := r.add(t, c)
			defer r.remove(ctx)
			return sessions[min(number, len(sessions))-1](ctx, c)
		})
	}()
	t.Cleanup(cancel)
	return r
}

// after lets time go by.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// stop ends Run, and shows that it ends with its context.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.end()
	assert.ErrorIs(t, <-r.err, context.Canceled)
}

func TestManagerRenewsWhenItIsAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, sitting)
		after(time.Hour)
		m.RequestRenewal()
		after(time.Minute)
		r.stop(t)
		require.Len(t, r.sessions(), 2)
		assert.ErrorIs(t, r.causes()[0], fleetprov.ErrRenewalDue)
		assert.Equal(t, r.sessions()[0].CertificateID, r.sessions()[1].PreviousCertificateID)
		assert.Len(t, m.server.Things(), 1)
		assert.Equal(t, 1, m.claims)
		loaded, err := fleetprov.LoadCredentials(t.Context(), m.store)
		require.NoError(t, err)
		assert.Equal(t, r.sessions()[1], loaded)
	})
}

// A request before Run is met at its beginning, and requests that come together are met
// by one renewal.
func TestRequestsBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		_, err := m.Credentials(t.Context())
		require.NoError(t, err)
		m.RequestRenewal()
		m.RequestRenewal()
		r := m.start(t, sitting)
		after(time.Hour)
		r.stop(t)
		require.Len(t, r.sessions(), 1)
		assert.NotEmpty(t, r.sessions()[0].PreviousCertificateID)
		assert.Len(t, m.server.Certificates(), 2)
	})
}

func TestARenewalIsDueInTime(t *testing.T) {
	for name, test := range map[string]struct{ before, earliest, latest time.Duration }{
		"a third of the lifetime":     {0, 20 * day, 20*day + 80*time.Hour},
		"as RenewBefore says":         {6 * day, 24 * day, 26 * day},
		"not all of the time":         {31 * day, 20 * day, 20*day + 80*time.Hour},
		"early, if that is asked for": {29 * day, day, day + 29*day/3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				m.RenewBefore = test.before
				r := m.start(t, sitting)
				after(test.latest + time.Hour)
				r.stop(t)
				require.Greater(t, len(r.sessions()), 1)
				worked := r.began()[1].Sub(r.began()[0])
				assert.GreaterOrEqual(t, worked, test.earliest-time.Minute)
				assert.LessOrEqual(t, worked, test.latest+2*time.Minute)
				assert.ErrorIs(t, r.causes()[0], fleetprov.ErrRenewalDue)
				assert.Equal(t, r.sessions()[0].CertificateID, r.sessions()[1].PreviousCertificateID)
			})
		})
	}
}

// clock is a wall clock that jumps.
type clock struct{ ahead atomic.Int64 }

func (c *clock) jump(d time.Duration) { c.ahead.Add(int64(d)) }

func (c *clock) option() fleetprov.Option {
	return fleetprov.WithTLSConfig(&tls.Config{Time: func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }})
}

func TestTheWallClockSaysWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall := new(clock)
		m := newManager(t, wall.option())
		r := m.start(t, sitting)
		after(25 * time.Second)
		wall.jump(25 * day)
		m.server.Advance(25 * day)
		after(2 * time.Minute)
		require.Len(t, r.sessions(), 2, "within a minute")
		assert.ErrorIs(t, r.causes()[0], fleetprov.ErrRenewalDue)
		r.stop(t)
	})
}

// With a clock that is years ahead, each certificate looks old as soon as it is there.
func TestAClockAheadDoesNotRenewWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall := new(clock)
		log, logger := logged()
		m := newManager(t, wall.option(), logger)
		r := m.start(t, sitting)
		after(time.Minute)
		wall.jump(25 * day)
		after(2 * day)
		assert.LessOrEqual(t, len(m.server.Certificates()), 8, "later and later")
		assert.Greater(t, len(m.server.Certificates()), 3)
		assert.Contains(t, log.String(), "check the clock")
		assert.Equal(t, 1, r.open(), "it works meanwhile")

		issued := len(m.server.Certificates())
		wall.jump(-25 * day) // it was set right
		after(15 * day)
		assert.Len(t, m.server.Certificates(), issued)
		r.stop(t)
	})
}

func TestTheStoreIsReadBeforeEachSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		other := newOtherProcess(m)
		r := m.start(t, func(context.Context, *fleetprov.Credentials) error {
			_, err := other.Renew(t.Context())
			assert.NoError(t, err)
			return errBroker
		}, sitting)
		after(time.Hour)
		require.Len(t, r.sessions(), 2)
		assert.Equal(t, r.sessions()[0].CertificateID, r.sessions()[1].PreviousCertificateID)
		assert.Len(t, m.server.Certificates(), 2)

		// It may have renewed while a session went on: that one has no need to.
		_, err := other.Renew(t.Context())
		require.NoError(t, err)
		after(24 * day)
		require.Len(t, r.sessions(), 4, "at the end of what it worked with, and of what it found then")
		assert.Len(t, m.server.Certificates(), 4)
		r.stop(t)
	})
}

// newOtherProcess is a Manager of the same device in another process.
func newOtherProcess(m *managed) *fleetprov.Manager {
	return &fleetprov.Manager{Endpoint: m.Endpoint, Template: m.Template, Store: m.store, Options: m.Options,
		RenewTemplate: m.RenewTemplate, RenewParameters: m.RenewParameters}
}

// A session that fails is called again, later and later.
func TestManagerWaitsBetweenSessions(t *testing.T) {
	for name, failing := range map[string]session{
		"with an error": func(context.Context, *fleetprov.Credentials) error { return errBroker },
		"without one":   func(context.Context, *fleetprov.Credentials) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				r := m.start(t, failing)
				after(2 * time.Hour)
				r.stop(t)
				for i := range r.began()[1:] {
					gap := r.began()[i+1].Sub(r.began()[i])
					assert.GreaterOrEqual(t, gap, 10*time.Second)
					assert.LessOrEqual(t, gap, 2*time.Minute)
					if i > 30 {
						assert.GreaterOrEqual(t, gap, 40*time.Second, "minutes in the end")
					}
				}
				assert.Less(t, r.began()[1].Sub(r.began()[0]), 11*time.Second, "seconds at first")
				assert.Greater(t, len(r.began()), 60)
				assert.Nil(t, r.causes()[0], "their context has not ended")
			})
		})
	}
}

func TestWaitsStartAnewAfterAMinuteOfWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		failing := func(context.Context, *fleetprov.Credentials) error { return errBroker }
		working := func(context.Context, *fleetprov.Credentials) error { after(time.Minute); return errBroker }
		sessions := []session{failing}
		for range 20 {
			sessions = append(sessions, failing)
		}
		r := m.start(t, append(sessions, working, sitting)...)
		after(2 * time.Hour)
		r.stop(t)
		require.Len(t, r.began(), 23)
		assert.Greater(t, r.began()[21].Sub(r.began()[20]), 12*time.Second)
		assert.LessOrEqual(t, r.began()[22].Sub(r.began()[21]), time.Minute+6*time.Second)
	})
}

func TestASessionThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		m := newManager(t, logger)
		released := make(chan struct{})
		r := m.start(t, func(context.Context, *fleetprov.Credentials) error { <-released; return nil }, sitting)
		after(90 * time.Second)
		m.RequestRenewal()
		const words = "the session goes on though its context has ended"
		after(59 * time.Second)
		assert.NotContains(t, log.String(), words)
		after(10 * time.Minute)
		assert.Equal(t, 10, strings.Count(log.String(), words), "every minute")
		assert.Contains(t, log.String(), fleetprov.ErrRenewalDue.Error())
		assert.Len(t, r.sessions(), 1)
		assert.Len(t, m.server.Certificates(), 1, "the renewal waits for it")

		close(released)
		after(time.Minute)
		require.Len(t, r.sessions(), 2)
		assert.NotEmpty(t, r.sessions()[1].PreviousCertificateID)
		r.stop(t)
	})
}

// Run waits for its session, too.
func TestRunDoesNotLeaveASessionBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, func(ctx context.Context, _ *fleetprov.Credentials) error {
			<-ctx.Done()
			after(time.Hour)
			return nil
		})
		after(time.Minute)
		began := time.Now()
		r.stop(t)
		assert.Equal(t, time.Hour, time.Since(began))
		assert.Len(t, r.sessions(), 1)
	})
}

func TestRenewWhileRunRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, sitting)
		after(time.Hour)
		c, err := m.Renew(t.Context())
		require.NoError(t, err)
		assert.Equal(t, r.sessions()[0].CertificateID, c.PreviousCertificateID)
		assert.Zero(t, r.open(), "the session is closed for it")
		after(time.Minute)
		require.Len(t, r.sessions(), 2)
		assert.Equal(t, c, r.sessions()[1])

		m.server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
		_, err = m.Renew(t.Context())
		var rejected *fleetprov.RejectedError
		assert.ErrorAs(t, err, &rejected, "whoever asks hears of it")
		c, err = m.Renew(t.Context())
		require.NoError(t, err, "and does not wait for the next try of Run's own")
		assert.Equal(t, r.sessions()[1].CertificateID, c.PreviousCertificateID)
		r.stop(t)
	})
}

// A session that waits for Renew would wait for itself.
func TestASessionThatCallsRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, func(ctx context.Context, _ *fleetprov.Credentials) error {
			_, err := m.Renew(ctx)
			assert.ErrorIs(t, err, context.Canceled)
			return err
		}, sitting)
		after(time.Minute)
		require.Len(t, r.sessions(), 2)
		assert.ErrorIs(t, r.causes()[0], fleetprov.ErrRenewalDue)
		assert.NotEmpty(t, r.sessions()[1].PreviousCertificateID, "it was asked for all the same")
		r.stop(t)
	})
}

func TestRunThatEndsWhileRenewWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, func(ctx context.Context, _ *fleetprov.Credentials) error {
			<-ctx.Done()
			after(time.Minute)
			return nil
		})
		after(time.Minute)
		failed := make(chan error)
		go func() { _, err := m.Renew(t.Context()); failed <- err }()
		after(time.Second)
		r.end()
		assert.ErrorContains(t, <-failed, "Run has ended before it renewed")
		assert.ErrorIs(t, <-r.err, context.Canceled)
		_, err := m.Renew(t.Context())
		assert.NoError(t, err, "there is no Run any more")
	})
}

func TestRunThatEndsWhileItRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, sitting)
		after(time.Minute)
		m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: 20 * time.Second})
		failed := make(chan error)
		go func() { _, err := m.Renew(t.Context()); failed <- err }()
		after(10 * time.Second)
		r.end()
		err := <-failed
		assert.ErrorContains(t, err, "Run has ended before it renewed")
		assert.NotErrorIs(t, err, context.Canceled, "that is not the end of its own context")
		assert.ErrorIs(t, <-r.err, context.Canceled)
	})
}

// Run waits for a renewal that was begun before it.
func TestRunThatBeginsWhileRenewRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		first, err := m.Credentials(t.Context())
		require.NoError(t, err)
		m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: 20 * time.Second})
		renewed := make(chan *fleetprov.Credentials)
		go func() { c, _ := m.Renew(t.Context()); renewed <- c }()
		after(time.Second)
		r := m.start(t, sitting)
		after(time.Second)
		assert.Empty(t, r.sessions())
		c := <-renewed
		require.NotNil(t, c)
		assert.Equal(t, first.CertificateID, c.PreviousCertificateID)
		after(time.Minute)
		require.Len(t, r.sessions(), 1)
		assert.Equal(t, c, r.sessions()[0])
		r.stop(t)
	})
}

func TestASecondRunIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, sitting)
		after(time.Second)
		err := m.Run(t.Context(), sitting)
		assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
		assert.ErrorContains(t, err, "runs already")
		assert.Equal(t, 1, r.open())
		r.stop(t)
		again := m.start(t, sitting)
		after(time.Minute)
		assert.Len(t, again.sessions(), 1, "one after the other may")
		again.stop(t)
	})
}

func TestASessionThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		assert.PanicsWithValue(t, "the session is broken", func() {
			_ = m.Run(t.Context(), func(context.Context, *fleetprov.Credentials) error { panic("the session is broken") })
		})
		r := m.start(t, sitting)
		after(time.Minute)
		assert.Len(t, r.sessions(), 1, "the Manager is not broken")
		r.stop(t)
	})
}

// A renewal that fails is tried again later and later, and sooner as the end comes near.
func TestARenewalThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		m := newManager(t, fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Op == fleetprov.OpRegisterThing && p.Err != nil {
				tries = append(tries, time.Now())
			}
		}))
		r := m.start(t, sitting)
		after(time.Minute)
		for range 1000 {
			m.server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
		}
		after(29*day + 23*time.Hour)
		require.Greater(t, len(tries), 10)
		hour := time.Hour.Seconds()
		for i, longest := range []float64{1.5, 3, 6, 12, 24} {
			wait := tries[i+1].Sub(tries[i]).Seconds() - 40
			assert.InDelta(t, longest*hour*5/6, wait, longest*hour/6+60, "%d", i)
		}
		last := tries[len(tries)-1].Sub(tries[len(tries)-2])
		assert.Less(t, last, time.Hour, "near the end")
		assert.Less(t, len(tries), 60)
		for i, c := range r.sessions() {
			assert.Equal(t, r.sessions()[0].CertificateID, c.CertificateID, "%d", i)
		}
		assert.Equal(t, 1, r.open(), "the device works with what it has")
		assert.Equal(t, 1, m.claims)
		r.stop(t)
	})
}

// Without a network a renewal could go on for ever.
func TestARenewalDoesNotKeepTheDeviceFromWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		m := newManager(t, logger)
		r := m.start(t, sitting)
		after(time.Minute)
		for range 1000 {
			m.server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		}
		began := time.Now()
		m.RequestRenewal()
		after(6 * time.Minute)
		require.Len(t, r.sessions(), 2)
		assert.Less(t, r.began()[1].Sub(began), 5*time.Minute+11*time.Second)
		assert.Contains(t, log.String(), "the renewal failed; the device goes on with the credentials it has, and tries again in 1h")
		r.stop(t)
	})
}

// AWS may refuse the certificate for a reason that passes.
func TestADeviceThatIsRefusedNeverFallsBackToTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		r := m.start(t, func(ctx context.Context, c *fleetprov.Credentials) error {
			return fmt.Errorf("connecting: %w", fleetprov.ErrNotAuthorized)
		})
		after(time.Minute)
		require.NoError(t, m.server.UpdateCertificate(r.sessions()[0].CertificateID, fleetprovtest.StatusInactive))
		after(25 * day)
		r.stop(t)
		assert.Greater(t, len(r.sessions()), 1000)
		assert.Len(t, m.server.Things()[0].CertificateIDs, 1)
		assert.Equal(t, 1, m.claims)
		assert.Equal(t, r.sessions()[0].CertificateID, r.sessions()[len(r.sessions())-1].CertificateID)
	})
}
