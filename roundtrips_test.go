package fleetprov_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
)

// oneWay is how long a packet travels.
const oneWay = 50 * time.Millisecond

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
// Register. Time is virtual, so that the count is exact.
func TestRoundTrips(t *testing.T) {
	for _, test := range []struct {
		name    string
		version uint16
		option  fleetprov.Option
		trips   int
	}{
		{"keys over TLS 1.3", tls.VersionTLS13, nil, 6},
		{"CSR over TLS 1.3", tls.VersionTLS13, fleetprov.WithGeneratedKey(), 6},
		{"CBOR over TLS 1.3", tls.VersionTLS13, fleetprov.WithCBOR(), 6},
		{"keys over TLS 1.2", tls.VersionTLS12, nil, 7},
		{"verified, over TLS 1.3", tls.VersionTLS13, fleetprov.WithVerification(), 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := newPipeServer(t)
				dial := func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := listener.Dial(ctx, network, address)
					if err != nil {
						return nil, err
					}
					<-time.After(2 * oneWay) // SYN and its answer
					return slowLink(conn), nil
				}
				provisioner := newProvisioner(t, server, fleetprov.WithDialer(dial), fleetprov.WithTLSConfig(&tls.Config{MaxVersion: test.version}), test.option)
				began := time.Now()
				_, err := provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				assert.Equal(t, time.Duration(test.trips)*2*oneWay, time.Since(began))
				<-time.After(time.Minute) // the goodbye travels, too
			})
		})
	}
}
