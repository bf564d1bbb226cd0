package figures_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// wire counts the bytes of connections, which TCP and IP add their headers to.
type wire struct {
	up, down atomic.Int64
	open     sync.WaitGroup
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return w.meter(conn), nil
}

func (w *wire) meter(conn net.Conn) net.Conn {
	w.open.Add(1)
	return &meteredConn{Conn: conn, wire: w, closed: sync.OnceFunc(w.open.Done)}
}

type meteredConn struct {
	net.Conn
	wire   *wire
	closed func()
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.down.Add(int64(n))
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.wire.up.Add(int64(n))
	return n, err
}

func (c *meteredConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// insideTLS provisions a device through a relay that ends TLS on both sides, and
// returns how many bytes of MQTT there were.
func (s serverProcess) insideTLS(t testing.TB, opts ...fleetprov.Option) (up, down float64) {
	t.Helper()
	ca := testca.New("a relay")
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.Server(testca.Validity{}, "localhost")},
		ClientAuth:   tls.RequireAnyClientCert,
	})
	require.NoError(t, err)
	defer listener.Close()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}

	var mqtt wire
	var relay sync.WaitGroup
	relay.Go(func() {
		device, err := listener.Accept()
		if err != nil {
			return
		}
		defer device.Close()
		far, err := tls.Dial("tcp", s.endpoint, s.tlsConfig(t))
		if err != nil {
			return
		}
		relay.Go(func() { io.Copy(device, mqtt.meter(far)) })
		io.Copy(mqtt.meter(far), device)
		far.Close()
	})
	_, err = s.newProvisioner(t, append(opts, fleetprov.WithDialer(dial), fleetprov.WithRootCAs(ca.Pool()))...).Provision(t.Context(), nil)
	require.NoError(t, err)
	relay.Wait()
	return float64(mqtt.up.Load()), float64(mqtt.down.Load())
}
