package broker_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/broker"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// clientsVariable is set in a process that holds connections for a test, to their
// number. Clients in the test's own process would count as memory of the server.
const clientsVariable = "BROKER_TEST_CLIENTS"

func TestMain(m *testing.M) {
	if clients, err := strconv.Atoi(os.Getenv(clientsVariable)); err == nil {
		if err := holdConnections(clients); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// holdConnections writes its root certificate as a line, reads an address as a
// line, connects to it, writes another line and stays until its input ends.
func holdConnections(clients int) error {
	ca := testca.New("devices")
	fmt.Println(base64.StdEncoding.EncodeToString(ca.Certificate().Raw))
	input := bufio.NewScanner(os.Stdin)
	input.Scan()
	addr := input.Text()

	conns := make([]net.Conn, 0, clients)
	for i := range clients {
		clientID := "device" + strconv.Itoa(i)
		conn, err := tls.Dial("tcp", addr, &tls.Config{
			InsecureSkipVerify: true, // the server's root is in the other process
			Certificates:       []tls.Certificate{ca.Client(clientID, testca.Validity{})},
		})
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		subscribe.MessageID = 1
		for _, topic := range []string{"$aws/certificates/create/json", "$aws/provisioning-templates/fleet/provision/json"} {
			subscribe.Topics = append(subscribe.Topics, topic+"/accepted", topic+"/rejected")
			subscribe.Qoss = append(subscribe.Qoss, 1, 1)
		}
		for _, p := range []packets.ControlPacket{connectPacket(clientID), subscribe} {
			if err := p.Write(conn); err != nil {
				return err
			}
			if _, err := packets.ReadPacket(conn); err != nil {
				return err
			}
		}
	}
	fmt.Println("connected")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns) // the garbage collector closes connections
	return err
}

// measureConnections returns by how many bytes the memory of the server grows
// for a connection over TLS 1.3 that has subscribed, and how much of that is left once
// the client is gone.
func measureConnections(tb testing.TB, clients int) (held, left float64) {
	tb.Helper()
	command := exec.CommandContext(provtest.Context(tb), os.Args[0])
	command.Env = append(os.Environ(), clientsVariable+"="+strconv.Itoa(clients))
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	require.NoError(tb, err)
	output, err := command.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, command.Start())
	defer command.Wait()
	defer input.Close()
	lines := bufio.NewScanner(output)

	require.True(tb, lines.Scan(), "the clients do not start")
	der, err := base64.StdEncoding.DecodeString(lines.Text())
	require.NoError(tb, err)
	root, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	devices := x509.NewCertPool()
	devices.AddCert(root)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	handler := &permissive{}
	var ended atomic.Int64
	closed := func(c *broker.Conn, _ error) {
		handler.conns.Delete(c)
		ended.Add(1)
	}
	server := &broker.Server{Handler: handler, Closed: closed, TLS: &tls.Config{
		Certificates:           []tls.Certificate{testca.New("server").Server(testca.Validity{}, "localhost")},
		ClientCAs:              devices,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
	}}
	serving := make(chan struct{})
	go func() { server.Serve(listener); close(serving) }()
	defer within(tb, "the end of the server", func() { server.Close(); <-serving })

	before := memory()
	_, err = fmt.Fprintln(input, listener.Addr())
	require.NoError(tb, err)
	require.True(tb, lines.Scan(), "the clients do not connect")
	require.Zero(tb, ended.Load())
	held = (memory() - before) / float64(clients)

	require.NoError(tb, input.Close())
	require.Eventually(tb, func() bool { return ended.Load() == int64(clients) }, patience, 10*time.Millisecond)
	left = (memory() - before) / float64(clients)
	return held, left
}

// memory returns the bytes that are in use on the heap and on stacks.
func memory() float64 {
	runtime.GC()
	runtime.GC() // what has a finalizer takes two
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) + float64(stats.StackInuse)
}

func TestConnectionsTakeLittleMemoryAndGiveItBack(t *testing.T) {
	measureConnections(t, 20) // for what is taken only once
	held, left := measureConnections(t, 200)
	assert.Less(t, held, 64e3)
	assert.Greater(t, held, 1e3, "nothing was measured")
	assert.Less(t, left, held/4)
}

// BenchmarkIdleConnections holds 1,000 connections over TLS 1.3 whose clients,
// in another process, have subscribed and then stay silent.
func BenchmarkIdleConnections(b *testing.B) {
	var held, left float64
	for b.Loop() {
		h, l := measureConnections(b, 1_000)
		held, left = held+h, left+l
	}
	b.ReportMetric(held/float64(b.N), "B/conn")
	b.ReportMetric(left/float64(b.N), "B/conn-after")
}
