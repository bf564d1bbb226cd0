package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net"
	"path/filepath"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// socket is a connection on which MQTT 5 is spoken packet by packet.
type socket struct {
	net.Conn
	t *testing.T
}

// connect5 opens a connection with a certificate and sends CONNECT of MQTT 5: a clean start,
// a keep-alive of 60 seconds, and a client id of eight characters.
func (p *program) connect5(certificate tls.Certificate, clientID string) socket {
	p.t.Helper()
	roots := x509.NewCertPool()
	require.True(p.t, roots.AppendCertsFromPEM(p.read(rootFile)))
	dialer := &tls.Dialer{Config: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots}}
	conn, err := dialer.DialContext(provtest.Context(p.t), "tcp", p.endpoint())
	require.NoError(p.t, err)
	p.t.Cleanup(func() { conn.Close() })
	require.NoError(p.t, conn.SetDeadline(time.Now().Add(waitFor)))

	packet, err := hex.DecodeString("101500044d5154540502003c000008")
	require.NoError(p.t, err)
	_, err = conn.Write(append(packet, clientID...))
	require.NoError(p.t, err)
	s := socket{conn, p.t}
	require.Zero(p.t, receive[*packets5.Connack](s).ReasonCode)
	return s
}

func receive[P packets5.Packet](s socket) P {
	s.t.Helper()
	p, err := packets5.ReadPacket(s)
	require.NoError(s.t, err)
	require.IsType(s.t, *new(P), p.Content)
	return p.Content.(P)
}

// ask publishes a request that must be accepted, and reads the answer.
func (s socket) ask(topic string, request any) (accepted answer) {
	s.t.Helper()
	payload, err := json.Marshal(request)
	require.NoError(s.t, err)
	_, err = (&packets5.Publish{QoS: 1, PacketID: 2, Topic: topic, Payload: payload}).WriteTo(s)
	require.NoError(s.t, err)
	receive[*packets5.Puback](s)
	message := receive[*packets5.Publish](s)
	require.Equal(s.t, topic+"/accepted", message.Topic, "%s", message.Payload)
	require.NoError(s.t, json.Unmarshal(message.Payload, &accepted))
	return accepted
}

// AWS IoT Greengrass nucleus lite sends CONNECT of MQTT 5 and two PUBLISH with a CSR, and
// never subscribes. The simulator answers it as it is.
func TestGreengrassLite(t *testing.T) {
	p := start(t, t.TempDir())
	claim, err := tls.LoadX509KeyPair(filepath.Join(p.dir, certificateFile), filepath.Join(p.dir, privateKeyFile))
	require.NoError(t, err)
	s := p.connect5(claim, "device-1")

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	created := s.ask("$aws/certificates/create-from-csr/json", map[string]string{
		"certificateSigningRequest": string(provtest.PEM("CERTIFICATE REQUEST", csr)),
	})
	registered := s.ask("$aws/provisioning-templates/fleet-template/provision/json", map[string]any{
		"certificateOwnershipToken": created.Token,
		"parameters":                map[string]string{"SerialNumber": "core-001"},
	})
	assert.Equal(t, "core-001", registered.ThingName)

	leaf := requirePEM(t, []byte(created.CertificatePEM), "CERTIFICATE").Bytes
	p.connect5(tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}, "core-001")
	p.logs("msg=connected", "client=core-001")
	assert.NotContains(t, p.stderr.String(), "subscribed")
	p.end()
}
