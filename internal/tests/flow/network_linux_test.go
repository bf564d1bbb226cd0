package flow_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// The endpoint's name has an IPv6 and an IPv4 address. What is sent to the first
// is lost, as on a network that announces IPv6 and does not carry it.
func TestDeadIPv6AddressDoesNotCostTheStep(t *testing.T) {
	cleanEnvironment(t)
	server, states, trusted := newAWSServer(t)
	_, port, err := net.SplitHostPort(server.Endpoint())
	require.NoError(t, err)
	dead := net.JoinHostPort("::1", port)
	blackHole(t, dead)
	resolveAll(t, net.IPv6loopback, net.IPv4(127, 0, 0, 1))
	addresses, err := net.DefaultResolver.LookupHost(provtest.Context(t), awsHost)
	require.NoError(t, err)
	require.Equal(t, []string{"::1", "127.0.0.1"}, addresses, "the dead one is the first choice")

	var connecting time.Duration
	provisioner, err := fleetprov.New(awsHost+":"+port, provtest.Template, provtest.Claim(t, server), trusted, provtest.OneAttempt,
		fleetprov.WithStepTimeout(30*time.Second),
		fleetprov.WithProgress(func(_ context.Context, p fleetprov.Progress) {
			if p.Op == fleetprov.OpConnect && p.Done {
				connecting = p.Elapsed
			}
		}))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Less(t, connecting, 10*time.Second, "one after the other, each address has half of the step: 15 seconds")
	assert.Equal(t, awsHost, states.last(t).ServerName)
}

// blackHole makes address take no connection, and refuse none: it listens with
// the shortest queue there is, fills it, and accepts nothing.
func blackHole(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("there is no IPv6 here: %v", err)
	}
	t.Cleanup(func() { listener.Close() })
	raw, err := listener.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }))
	require.NoError(t, err)
	for range 16 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			var lost net.Error
			require.ErrorAs(t, err, &lost)
			require.True(t, lost.Timeout(), "%v", err)
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this system's queue of connections has no end")
}

// resolveAll makes every name resolve to addresses until the test ends.
func resolveAll(t *testing.T, addresses ...net.IP) {
	t.Helper()
	system := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = system })
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go serveDNS(far, addresses)
			return near, nil
		},
	}
}

// serveDNS answers one question (RFC 1035, sections 4.1 and 4.2.2).
func serveDNS(conn net.Conn, addresses []net.IP) {
	defer conn.Close()
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	question := query[12:]
	end := 0
	for question[end] != 0 {
		end += 1 + int(question[end])
	}
	question = question[:end+5] // the name, its end, type and class
	answer := append([]byte{}, query[:2]...)
	answer = append(answer, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	answer = append(answer, question...)
	for _, address := range addresses {
		kind, data := byte(28), address.To16() // AAAA
		if v4 := address.To4(); v4 != nil {
			kind, data = 1, v4 // A
		}
		if question[end+2] != kind {
			continue
		}
		answer[7]++ // how many answers there are
		answer = append(answer, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, byte(len(data)))
		answer = append(answer, data...)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}
