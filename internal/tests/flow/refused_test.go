package flow_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// refusals are the dials of a device whose every connection is taken and closed.
type refusals struct {
	began time.Time
	mu    sync.Mutex
	dials []time.Time
}

func (r *refusals) dialer() fleetprov.Option {
	r.began = time.Now()
	return fleetprov.WithDialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
		r.mu.Lock()
		r.dials = append(r.dials, time.Now())
		r.mu.Unlock()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		client, server := net.Pipe()
		go func() {
			_, _ = server.Read(make([]byte, 16<<10)) // ClientHello
			server.Close()
		}()
		return client, nil
	})
}

// in counts the dials of one hour.
func (r *refusals) in(hour int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.dials {
		if int(at.Sub(r.began)/time.Hour) == hour {
			n++
		}
	}
	return n
}

// A device that AWS refuses tries less and less, however its program runs it.
func TestADeviceThatIsRefusedTriesLessAndLess(t *testing.T) {
	credentials := func(every time.Duration) func(*managed) func(context.Context) {
		return func(m *managed) func(context.Context) {
			return func(ctx context.Context) {
				for ctx.Err() == nil {
					within, cancel := context.WithTimeout(ctx, every)
					_, err := m.Credentials(within)
					assert.Error(t, err)
					cancel()
				}
			}
		}
	}
	run := func(m *managed) func(context.Context) {
		return func(ctx context.Context) {
			err := m.Run(ctx, func(context.Context, *fleetprov.Credentials) error { return errBroker })
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
	for _, test := range []struct {
		what string
		life func(*managed) func(context.Context)
	}{
		{"Run", run},
		{"Credentials for 30 seconds, again and again", credentials(30 * time.Second)},
		{"Credentials for a minute, again and again", credentials(time.Minute)},
		{"Credentials for five minutes, again and again", credentials(5 * time.Minute)},
		{"Run with one attempt", func(m *managed) func(context.Context) {
			m.Options = append(m.Options, fleetprov.WithMaxAttempts(1))
			return run(m)
		}},
		{"Run with expired credentials", func(m *managed) func(context.Context) {
			m.store.Files["credentials.pem"] = expiring(t, time.Now())
			<-time.After(time.Second)
			m.RenewTemplate = ""
			return run(m)
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const hours = 24
				var r refusals
				m := newManager(t, fleetprov.WithLogger(nil), r.dialer())
				ctx, cancel := context.WithTimeout(t.Context(), hours*time.Hour)
				defer cancel()
				test.life(m)(ctx)
				t.Logf("dials in hours 1, 2, 12 and 24: %d, %d, %d, %d", r.in(0), r.in(1), r.in(11), r.in(hours-1))
				assert.Less(t, r.in(0), 60)
				assert.Less(t, r.in(hours-1), 10)
				assert.Positive(t, r.in(0))
			})
		})
	}
}

// Whatever comes of the claim of a device whose certificate looks expired, AWS is not
// asked at each session. When the clock is set, the device has its credentials back at once.
func TestTheClaimOfADeviceWithExpiredCredentialsIsTriedLessAndLess(t *testing.T) {
	for _, test := range []struct {
		what    string
		expires func(*managed)
		most    int // registrations
	}{
		{"the new certificate looks expired, too", func(*managed) {}, 0},
		{"the hook refuses", func(m *managed) {
			m.server.Advance(31 * day)
			for range 1000 {
				register(m.server, hookRefused)
			}
		}, 70},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wall := new(clock)
				m := newManager(t, wall.option())
				m.RenewTemplate = ""
				stored, err := m.Credentials(t.Context())
				require.NoError(t, err)
				connected, registered := count(m.server, fleetprovtest.OpConnect), count(m.server, fleetprovtest.OpRegisterThing)
				wall.jump(31 * day)
				test.expires(m)
				r := m.start(t, func(context.Context, *fleetprov.Credentials) error { return errBroker })
				after(6 * time.Hour)
				connected = count(m.server, fleetprovtest.OpConnect) - connected
				registered = count(m.server, fleetprovtest.OpRegisterThing) - registered
				t.Logf("%d sessions, %d connections, %d registrations", len(r.sessions()), connected, registered)
				assert.Greater(t, len(r.sessions()), 200)
				assert.Less(t, connected, 80)
				assert.Greater(t, connected, 10)
				assert.LessOrEqual(t, registered, test.most)
				assert.LessOrEqual(t, m.claims, connected+1, "it is not opened for nothing")

				wall.jump(-31 * day)
				began := time.Now()
				c, err := m.Credentials(t.Context())
				require.NoError(t, err)
				assert.Equal(t, stored, c)
				assert.Zero(t, time.Since(began))
				r.end()
				<-r.err
			})
		})
	}
}
