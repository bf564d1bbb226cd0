package figures_test

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// oneWay is how long a packet travels.
const oneWay = 50 * time.Millisecond

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// slowDialer dials as another does, over a slow link.
func slowDialer(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		<-time.After(2 * oneWay) // SYN and its answer
		return slowLink(conn), nil
	}
}

// slowLink hands on what is written to either end after the time it travels,
// without holding up the writer, as a network does.
func slowLink(far net.Conn) net.Conn {
	near, middle := net.Pipe()
	go travel(far, middle)
	go travel(middle, far)
	return near
}

func travel(to, from net.Conn) {
	type parcel struct {
		arrives time.Time
		data    []byte
	}
	underWay := make(chan parcel, 1000)
	go func() {
		defer to.Close()
		for p := range underWay {
			<-time.After(time.Until(p.arrives))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	}()
	defer close(underWay)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			underWay <- parcel{time.Now().Add(oneWay), append([]byte(nil), buffer[:n]...)}
		}
		if err != nil {
			return
		}
	}
}

// From the dial to the credentials: TCP, TLS, CONNECT, SUBSCRIBE, Create and
// Register. Time is virtual and passes only on the link, so that the count is
// exact: what a server or a slow device takes is not in it. Nor would a wait for
// the PUBACK be, which this server sends together with the answer: there is a test
// of its own for that, in internal/mqttsession.
func TestRoundTrips(t *testing.T) {
	for _, way := range []struct {
		name    string
		version uint16
		opts    []fleetprov.Option
		trips   int
	}{
		{"over TLS 1.3", tls.VersionTLS13, nil, 6},
		{"over TLS 1.3, pipelined", tls.VersionTLS13, []fleetprov.Option{fleetprov.WithPipelining()}, 5},
		{"over TLS 1.3, verified", tls.VersionTLS13, []fleetprov.Option{fleetprov.WithVerification()}, 6 + 3},
		{"over TLS 1.3, pipelined and verified", tls.VersionTLS13, []fleetprov.Option{fleetprov.WithPipelining(), fleetprov.WithVerification()}, 5 + 3},
		{"over TLS 1.2", tls.VersionTLS12, nil, 7},
		{"over TLS 1.2, pipelined", tls.VersionTLS12, []fleetprov.Option{fleetprov.WithPipelining()}, 6},
		{"over TLS 1.2, verified", tls.VersionTLS12, []fleetprov.Option{fleetprov.WithVerification()}, 7 + 4},
	} {
		for _, flow := range []struct {
			name string
			opts []fleetprov.Option
		}{
			{"keys", nil},
			{"CSR", []fleetprov.Option{fleetprov.WithGeneratedKey()}},
			{"CBOR", []fleetprov.Option{fleetprov.WithCBOR()}},
			{"CSR in CBOR", []fleetprov.Option{fleetprov.WithGeneratedKey(), fleetprov.WithCBOR()}},
		} {
			t.Run(flow.name+" "+way.name, func(t *testing.T) {
				opts := slices.Concat(way.opts, flow.opts)
				assert.Equal(t, way.trips, roundTrips(t, &tls.Config{MaxVersion: way.version}, opts...))
			})
		}
	}
}

// roundTrips provisions a device over a slow link, and returns how often it went
// there and back.
func roundTrips(t *testing.T, config *tls.Config, opts ...fleetprov.Option) (trips int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, listener := provtest.NewPipeServer(t)
		dial := slowDialer(listener.Dial)
		provisioner := provtest.NewProvisioner(t, server, append(opts, fleetprov.WithDialer(dial), fleetprov.WithTLSConfig(config))...)
		began := time.Now()
		_, err := provisioner.Provision(t.Context(), nil)
		took := time.Since(began)
		require.NoError(t, err)
		require.Zero(t, took%(2*oneWay), "%v is no whole number of round trips", took)
		trips = int(took / (2 * oneWay))
		<-time.After(time.Minute) // the goodbye travels, too
	})
	return trips
}
