package fleetprovtest_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestUnstartedServerKnowsItsIdentity(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	defer closeServer(t, server)

	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	assert.Equal(t, "localhost:"+port, server.Endpoint())

	key, leaf, roots, err := pkcs12.DecodeChain(server.ClaimPFX("secret"), "secret")
	require.NoError(t, err)
	assert.Equal(t, server.ClaimCertificate().Leaf, leaf)
	assert.Equal(t, server.ClaimCertificate().PrivateKey, key)
	assert.Equal(t, "P-256", key.(*ecdsa.PrivateKey).Params().Name)
	require.Len(t, roots, 1)
	assert.Error(t, leaf.CheckSignatureFrom(roots[0]), "the server's root did not issue the claim")
	assert.True(t, roots[0].IsCA)

	_, _, _, err = pkcs12.DecodeChain(server.ClaimPFX("secret"), "wrong")
	assert.ErrorIs(t, err, pkcs12.ErrIncorrectPassword)
}

func TestStartTwicePanics(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer closeServer(t, server)
	assert.Panics(t, server.Start)
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	server := fleetprovtest.NewServer()
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Delay: time.Hour})

	claim := connectClaim(t, server)
	keys, certificate := claim.provisionLater()
	assert.NotEmpty(t, keys.CertificateID)

	device := connectAs(t, server, certificate, "device")
	device.subscribe("#")

	waiting := connectAs(t, server, server.ClaimCertificate(), "waiting")
	server.Inject(fleetprovtest.OpSubscribe, fleetprovtest.Fault{Delay: time.Hour})
	waiting.sendSubscribe(1, 1, flowFilters...)

	silent, err := net.DialTimeout("tcp", server.Listener.Addr().String(), patience)
	require.NoError(t, err)
	defer silent.Close()

	server.Close()
	server.Close() // does no harm
	claim.closed()
	device.closed()

	_, err = net.DialTimeout("tcp", server.Listener.Addr().String(), patience)
	assert.Error(t, err)
	require.Eventually(t, func() bool { return len(serverGoroutines()) == 0 }, 10*time.Second, 5*time.Millisecond,
		"goroutines are left: %v", serverGoroutines())
}

// provisionLater provisions a device, except that the answer to RegisterThing never
// comes.
func (c *client) provisionLater() (created, tls.Certificate) {
	c.t.Helper()
	c.subscribe(flowFilters...)
	keys := c.createKeys()
	c.publish(registerTopic, `{"certificateOwnershipToken":"`+keys.CertificateOwnershipToken+`"}`)
	c.ping()
	return keys, keys.certificate(c.t)
}

// serverGoroutines returns the stacks of goroutines that a server has started.
func serverGoroutines() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for _, stack := range strings.Split(string(buf), "\n\n") {
		for _, frame := range []string{
			"created by github.com/fleetprov/fleetprov/fleetprovtest.",
			"created by github.com/fleetprov/fleetprov/internal/broker.",
			"fleetprov/fleetprovtest.(*Server)",
			"fleetprov/internal/broker.",
		} {
			if strings.Contains(stack, frame) {
				left = append(left, stack)
				break
			}
		}
	}
	return left
}
