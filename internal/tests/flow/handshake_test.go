package flow_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/amazonroots"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// askingListener makes a server ask for signatures of these schemes only, in TLS 1.2,
// where the request for the client's certificate is not encrypted. A Go server always
// asks for all that it knows.
type askingListener struct {
	net.Listener
	schemes []tls.SignatureScheme
}

func (l askingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return askingConn{conn, l.schemes}, err
}

type askingConn struct {
	net.Conn
	schemes []tls.SignatureScheme
}

// Write replaces the schemes of a CertificateRequest (RFC 5246, section 7.4.4).
func (c askingConn) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	for rest := p; len(rest) >= 5; {
		record := rest[5 : 5+binary.BigEndian.Uint16(rest[3:])]
		if rest[0] == 22 && record[0] == 13 {
			types := 4
			schemes := record[types+1+int(record[types]):]
			schemes = schemes[2 : 2+binary.BigEndian.Uint16(schemes)]
			for i := 0; i < len(schemes); i += 2 {
				binary.BigEndian.PutUint16(schemes[i:], uint16(c.schemes[i/2%len(c.schemes)]))
			}
		}
		rest = rest[5+len(record):]
	}
	return c.Conn.Write(p)
}

// saying is a key that says something instead of signing.
type saying struct {
	public crypto.PublicKey
	says   error
}

func (s saying) Public() crypto.PublicKey { return s.public }

func (s saying) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, s.says }

// sayingMessage is one that hashes by itself.
type sayingMessage struct{ saying }

func (s sayingMessage) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("it was asked to sign a digest")
}

func (s sayingMessage) SignMessage(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, s.says
}

// claimWith is a claim for key. What has not got as far as the server's own check of it
// may be from any authority.
func claimWith(t *testing.T, key crypto.Signer) *fleetprov.Identity {
	t.Helper()
	leaf, err := testca.New("a factory").Issue("claim", testca.Validity{}, key.Public())
	require.NoError(t, err)
	identity, err := fleetprov.NewIdentity(tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key})
	require.NoError(t, err)
	return identity
}

// assertFinal is about a failure of this side, which is neither the network's nor
// passes by itself.
func assertFinal(t *testing.T, err error, says ...string) {
	t.Helper()
	assertOp(t, fleetprovtest.OpConnect, err)
	assert.NotErrorIs(t, err, fleetprov.ErrConnectionLost)
	assert.NotErrorIs(t, err, fleetprov.ErrNotAuthorized)
	assert.False(t, fleetprov.Retryable(err))
	assert.NotContains(t, err.Error(), "filters TLS")
	for _, text := range says {
		assert.ErrorContains(t, err, text)
	}
}

func TestClaimWhoseKeyTheServerTakesNoSignatureOf(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	short := saying{&rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 512), big.NewInt(1)), E: 65537}, nil}
	aws := []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512}
	for name, test := range map[string]struct {
		key   crypto.Signer
		asked []tls.SignatureScheme
		says  string
	}{
		"Ed25519, which AWS does not ask for": {edwards, aws, "the certificate's key, Ed25519,"},
		"RSA where ECDSA is asked for":        {rsaKey, aws[2:], "the certificate's key, RSA of 2048 bits,"},
		"P-256 where RSA is asked for":        {devicekeyP256(t), aws[:2], "the certificate's key, ECDSA on P-256,"},
		"RSA too short for PSS":               {short, nil, "the certificate's key, RSA of 512 bits,"},
	} {
		t.Run(name, func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			if test.asked != nil {
				server.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
				server.Listener = askingListener{server.Listener, test.asked}
			}
			server.Start()
			defer server.Close()
			provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claimWith(t, test.key), fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assertFinal(t, err, test.says, "takes no signature", "tls: ")
		})
	}
}

func TestClaimWhoseKeyDoesNotSign(t *testing.T) {
	server := provtest.NewServer(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	locked := errors.New("the token is locked")
	for name, test := range map[string]struct {
		key  crypto.Signer
		says string
	}{
		"P-256":                     {saying{devicekeyP256(t).Public(), locked}, "the certificate's private key, ECDSA on P-256, did not sign: the token is locked"},
		"P-256, hashing by itself":  {sayingMessage{saying{devicekeyP256(t).Public(), locked}}, "the certificate's private key, ECDSA on P-256, did not sign: the token is locked"},
		"RSA, which may be old":     {saying{rsaKey.Public(), locked}, "the certificate's private key, RSA of 2048 bits, did not sign: the token is locked; TLS 1.3 needs RSA-PSS"},
		"a claim that has no words": {saying{devicekeyP256(t).Public(), errors.Join(locked)}, "did not sign"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claimWith(t, test.key),
					fleetprov.WithRootCAs(server.RootCAs()), fleetprov.WithTLSConfig(&tls.Config{MaxVersion: version}), provtest.OneAttempt)
				require.NoError(t, err)
				_, err = provisioner.Provision(provtest.Context(t), nil)
				assertFinal(t, err, test.says)
				assert.ErrorIs(t, err, locked)
				assert.NotContains(t, err.Error(), "WithTLSConfig")
			})
		}
	}
}

// A token's time limit is not the caller's, and passes.
func TestClaimWhoseKeyRunsOutOfItsOwnTime(t *testing.T) {
	server := provtest.NewServer(t)
	key := saying{devicekeyP256(t).Public(), context.DeadlineExceeded}
	provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claimWith(t, key), fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt)
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	assertOp(t, fleetprovtest.OpConnect, err)
	assert.ErrorContains(t, err, "the certificate's private key, ECDSA on P-256, did not sign")
	assert.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
	assert.True(t, fleetprov.Retryable(err))
}

func TestTLSConfigurationThatCannotBeUsed(t *testing.T) {
	server := provtest.NewServer(t)
	for name, config := range map[string]*tls.Config{
		"a curve that is none":         {CurvePreferences: []tls.CurveID{1}},
		"a protocol without a name":    {NextProtos: []string{""}},
		"random numbers that run out":  {Rand: bytes.NewReader(nil)},
		"an ECH list that is not one":  {EncryptedClientHelloConfigList: []byte{1, 2, 3}},
		"ECH with TLS 1.2":             {EncryptedClientHelloConfigList: []byte{1, 2, 3}, MaxVersion: tls.VersionTLS12},
		"curves for another handshake": {CurvePreferences: []tls.CurveID{2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner := provtest.NewProvisioner(t, server, fleetprov.WithTLSConfig(config), provtest.OneAttempt)
			_, err := provisioner.Provision(provtest.Context(t), nil)
			assertFinal(t, err, "WithTLSConfig cannot be used: check its CurvePreferences")
		})
	}
}

// What the server refuses in an alert is named as well: it is the caller's where the
// caller has set it.
func TestTLSThatTheServerRefuses(t *testing.T) {
	suite := func(id uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{id}}
	}
	const onTheWay = "check the endpoint and its port, and what changes TLS on the way"
	for name, test := range map[string]struct {
		server, client *tls.Config
		port           string
		says, not      string
	}{
		"a curve": {&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, "",
			"WithTLSConfig allows: check its CurvePreferences", "CipherSuites"},
		"a cipher": {suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), suite(tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384), "",
			"WithTLSConfig allows: check its CipherSuites and MaxVersion", "CurvePreferences"},
		"a version": {&tls.Config{MaxVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS13}, "",
			"WithTLSConfig allows: check its MinVersion", "MaxVersion"},
		"a protocol": {&tls.Config{NextProtos: []string{"x-amzn-mqtt-ca"}}, &tls.Config{NextProtos: []string{"h2"}}, ":8883",
			"WithTLSConfig allows: check its NextProtos", "on the way"},
		"another port": {&tls.Config{NextProtos: []string{"h2"}}, &tls.Config{NextProtos: []string{"mqtt"}}, ":443",
			"no MQTT there (ALPN): check the endpoint and its port", "WithTLSConfig"},
		"versions that are old": {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil, "", onTheWay, "WithTLSConfig"},
		"old, and not by what was set": {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, "",
			onTheWay, "WithTLSConfig"},
	} {
		t.Run(name, func(t *testing.T) {
			ca := testca.New("a root")
			server := fleetprovtest.NewUnstartedServer()
			test.server.Certificates = []tls.Certificate{ca.Server(testca.Validity{}, awsHost)}
			server.TLS = test.server
			server.Start()
			defer server.Close()
			opts := []fleetprov.Option{fleetprov.WithRootCAs(ca.Pool()), dialTo(server), provtest.OneAttempt}
			if test.client != nil {
				opts = append(opts, fleetprov.WithTLSConfig(test.client))
			}
			provisioner, err := fleetprov.New(awsHost+test.port, provtest.Template, provtest.Claim(t, server), opts...)
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assertFinal(t, err, "remote error: tls: ", test.says)
			assert.NotContains(t, err.Error(), test.not)
		})
	}
}

// What listens nowhere is looked for.
func TestAConnectionThatIsRefused(t *testing.T) {
	server := provtest.NewServer(t)
	refused := fleetprov.WithDialer(func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	})
	for says, proxy := range map[string]*url.URL{
		"check the endpoint's host and port (AWS IoT has 8883 and 443), and that no firewall refuses them": nil,
		"check the proxy's host and port": {Scheme: "http", Host: "proxy.example.com:3128"},
	} {
		provisioner := provtest.NewProvisioner(t, server, refused, fleetprov.WithProxy(proxy), provtest.OneAttempt)
		_, err := provisioner.Provision(provtest.Context(t), nil)
		assertOp(t, fleetprovtest.OpConnect, err)
		assert.ErrorContains(t, err, "connection refused; "+says)
		assert.True(t, fleetprov.Retryable(err))
	}
}

func TestServerCertificateThatCannotBeParsed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.TLS = &tls.Config{MaxVersion: version, Certificates: []tls.Certificate{{Certificate: [][]byte{{0x30, 1, 0}}, PrivateKey: devicekeyP256(t)}}}
			server.Start()
			defer server.Close()
			_, err := provtest.NewProvisioner(t, server, provtest.OneAttempt).Provision(provtest.Context(t), nil)
			assertFinal(t, err, "failed to parse certificate from server", "check the endpoint")
		})
	}
}

// garblingListener makes a server end its TLS 1.2 handshake with what nobody can
// decrypt.
type garblingListener struct{ net.Listener }

func (l garblingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return garblingConn{conn}, err
}

type garblingConn struct{ net.Conn }

// Write garbles the last byte behind a ChangeCipherSpec (RFC 5246, section 7.1).
func (c garblingConn) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	if p[0] == 20 {
		p[len(p)-1] ^= 1
	}
	return c.Conn.Write(p)
}

// A server may name authorities that did not issue the claim, and take it all the
// same: that is not why a handshake ends.
func TestAuthoritiesThatDidNotIssueTheClaimAreNotBlamed(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, ClientCAs: testca.New("another root").Pool()}
	server.Listener = garblingListener{server.Listener}
	server.Start()
	defer server.Close()
	_, err := provtest.NewProvisioner(t, server, provtest.OneAttempt).Provision(provtest.Context(t), nil)
	assertFinal(t, err, "bad record MAC", "another attempt ends in the same way")
	assert.NotContains(t, err.Error(), "the certificate's key")
}

// failingConn fails, in plain words, when it is read or written for the n-th time.
type failingConn struct {
	net.Conn
	reads, writes int
	says          error
}

func (c *failingConn) Read(p []byte) (int, error) {
	if c.reads--; c.reads == 0 {
		return 0, c.says
	}
	return c.Conn.Read(p)
}

func (c *failingConn) Write(p []byte) (int, error) {
	if c.writes--; c.writes == 0 {
		return 0, c.says
	}
	return c.Conn.Write(p)
}

// uncomparable is an error that must not be compared.
type uncomparable struct{ words []string }

func (u uncomparable) Error() string { return u.words[0] }

func TestNetworkThatFailsInTheHandshake(t *testing.T) {
	server := provtest.NewServer(t)
	for _, says := range []error{errors.New("the carrier is lost"), uncomparable{[]string{"the modem has restarted"}}, io.EOF, io.ErrClosedPipe} {
		for name, conn := range map[string]failingConn{
			"at the first Read": {reads: 1}, "at a later Read": {reads: 3}, "at the first Write": {writes: 1}, "at the second Write": {writes: 2},
		} {
			t.Run(name+" with "+says.Error(), func(t *testing.T) {
				failing := conn
				failing.says = says
				provisioner := provtest.NewProvisioner(t, server, provtest.OneAttempt,
					fleetprov.WithTLSConfig(&tls.Config{MaxVersion: tls.VersionTLS12}), // in 1.3 the second Write is behind the handshake
					fleetprov.WithDialer(func(ctx context.Context, network, address string) (conn net.Conn, err error) {
						failing.Conn, err = new(net.Dialer).DialContext(ctx, network, address)
						return &failing, err
					}))
				_, err := provisioner.Provision(provtest.Context(t), nil)
				assertOp(t, fleetprovtest.OpConnect, err)
				assert.ErrorIs(t, err, fleetprov.ErrConnectionLost)
				assert.True(t, fleetprov.Retryable(err))
				assert.ErrorContains(t, err, says.Error())
			})
		}
	}
}

// What this side has decided stays, even if the network fails when the server is told.
func TestDecisionThatCannotBeTold(t *testing.T) {
	server := provtest.NewServer(t)
	locked := errors.New("the token is locked")
	var conn *failingConn
	key := &devicekeySigner{devicekeyP256(t), func() error { conn.writes = 1; return locked }}
	provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claimWith(t, key), fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt,
		fleetprov.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, network, address)
			conn = &failingConn{Conn: raw, says: errors.New("the carrier is lost")}
			return conn, err
		}))
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	assertFinal(t, err, "the token is locked")
	assert.ErrorIs(t, err, locked)
}

// authority issues what testca does not: certificates of authorities below a root.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	ca := testca.New(name).MarshalPEM()
	pair, err := tls.X509KeyPair(ca, ca)
	require.NoError(t, err)
	return authority{pair.Leaf, pair.PrivateKey.(crypto.Signer)}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a authority) issue(t *testing.T, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(7)
	template.NotBefore = time.Now().Add(-48 * time.Hour)
	template.BasicConstraintsValid = true
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

// below is an authority that a has issued.
func (a authority) below(t *testing.T, name string, until time.Time) authority {
	t.Helper()
	key := devicekeyP256(t)
	return authority{a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, NotAfter: until}, key.Public()), key}
}

// server is a certificate for a host, and those that go with it.
func (a authority) server(t *testing.T, host string, with ...authority) tls.Certificate {
	t.Helper()
	key := devicekeyP256(t)
	leaf := a.issue(t, &x509.Certificate{DNSNames: []string{host}}, key.Public())
	certificate := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: crypto.Signer(key)}
	for _, w := range with {
		certificate.Certificate = append(certificate.Certificate, w.certificate.Raw)
	}
	return certificate
}

// connectTo provisions at host with a server that has certificate.
func connectTo(t *testing.T, host string, certificate tls.Certificate, claim *fleetprov.Identity, opts ...fleetprov.Option) error {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Start()
	defer server.Close()
	if claim == nil {
		claim = provtest.Claim(t, server)
	}
	provisioner, err := fleetprov.New(host, provtest.Template, claim, append(opts, dialTo(server), provtest.OneAttempt)...)
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	assertOp(t, fleetprovtest.OpConnect, err)
	return err
}

func TestServerCertificateThatHasExpired(t *testing.T) {
	root := newAuthority(t, "a root")
	yesterday := time.Now().Add(-24 * time.Hour)
	old := root.below(t, "an old authority", yesterday)
	young := root.below(t, "a young authority", time.Time{})
	key := devicekeyP256(t)
	expired := young.issue(t, &x509.Certificate{DNSNames: []string{"iot.example.com"}, NotAfter: yesterday}, key.Public())
	for name, test := range map[string]struct {
		certificate tls.Certificate
		host        string
		clock       bool
		says        string
	}{
		"the leaf": {tls.Certificate{Certificate: [][]byte{expired.Raw, young.certificate.Raw}, PrivateKey: key}, "iot.example.com", true,
			"and the server's certificate was valid until " + expired.NotAfter.Format(time.RFC3339) + ": the clock is ahead, or the certificate really has expired"},
		"the leaf, under another name": {tls.Certificate{Certificate: [][]byte{expired.Raw, young.certificate.Raw}, PrivateKey: key}, "other.example.com", false,
			"nor is the certificate for other.example.com: check the endpoint"},
		"an authority":                     {old.server(t, "iot.example.com", old), "iot.example.com", true, "a certificate that the server's chains to was valid until "},
		"an authority, under another name": {old.server(t, "iot.example.com", old), "other.example.com", false, "not other.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			err := connectTo(t, test.host, test.certificate, nil, fleetprov.WithRootCAs(root.pool()))
			assert.ErrorContains(t, err, test.says)
			assert.Equal(t, test.clock, errors.Is(err, fleetprov.ErrClock), "%v", err)
			assert.Equal(t, test.clock, fleetprov.Retryable(err))
		})
	}
}

func TestServerWhoseRootIsNotTrusted(t *testing.T) {
	root := newAuthority(t, "a root\x1b[31m")
	middle := root.below(t, "an authority", time.Time{})
	factory := testca.New("a factory")
	leaf := factory.Client("claim", testca.Validity{})
	leaf.Certificate = append(leaf.Certificate, factory.Certificate().Raw)
	ownChain, err := fleetprov.NewIdentity(leaf)
	require.NoError(t, err)
	amazon, key := amazonroots.Certificates()[0], devicekeyP256(t)
	forged := authority{root.issue(t, &x509.Certificate{RawSubject: amazon.RawSubject, IsCA: true}, key.Public()), key}
	withAmazons := forged.server(t, awsHost)
	withAmazons.Certificate = append(withAmazons.Certificate, amazon.Raw)

	const (
		inspected = "something on the way inspects TLS"
		exempt    = "have xxxxxxxx-ats.iot.eu-west-1.amazonaws.com exempted from inspection"
		own       = "WithRootCAs"
	)
	for name, test := range map[string]struct {
		host        string
		certificate tls.Certificate
		claim       *fleetprov.Identity
		says        []string
		not         string
	}{
		"at AWS": {awsHost, middle.server(t, awsHost, middle), nil,
			[]string{`the root "CN=a root\x1b[31m", which is not Amazon's`, inspected, exempt, "only CONNECT would fail instead"}, "give the root"},
		"at AWS, all of the chain out of order": {awsHost, middle.server(t, awsHost, root, middle), nil,
			[]string{`the root "CN=a root\x1b[31m", which is not Amazon's`, inspected}, "give the root"},
		"at AWS, with Amazon's name": {awsHost, withAmazons, nil, []string{`"CN=Amazon Root CA 1,O=Amazon,C=US", which is not Amazon's`, inspected}, "which is Amazon's"},
		"at an old endpoint": {"xxxxxxxx.iot.eu-west-1.amazonaws.com", root.server(t, "xxxxxxxx.iot.eu-west-1.amazonaws.com"), nil,
			[]string{"an old endpoint whose authority is not trusted any more: aws iot describe-endpoint --endpoint-type iot:Data-ATS prints the one to use"}, inspected},
		"at a domain of its own": {"iot.example.com", middle.server(t, "iot.example.com", middle), nil,
			[]string{`the root "CN=a root\x1b[31m", which is not trusted`, "aws iot describe-endpoint", own}, inspected},
		"in the claim's own chain": {"iot.example.com", factory.Server(testca.Validity{}, "iot.example.com"), ownChain,
			[]string{`the root "CN=a factory", which is in the device's own certificate chain`, "not trusted for servers", own, "NewIdentity"}, inspected},
	} {
		t.Run(name, func(t *testing.T) {
			err := connectTo(t, test.host, test.certificate, test.claim)
			assertFinal(t, err, test.says...)
			assert.ErrorAs(t, err, new(x509.UnknownAuthorityError))
			assert.NotContains(t, err.Error(), test.not)
			assert.NotContains(t, err.Error(), "\x1b")
		})
	}
}

func TestEndpointThatHasNoAddress(t *testing.T) {
	server := provtest.NewServer(t)
	for name, test := range map[string]struct {
		failure  *net.DNSError
		describe bool
	}{
		"no such host":                  {&net.DNSError{Err: "no such host", Name: "IoT.example.com.", IsNotFound: true}, true},
		"the resolver is away":          {&net.DNSError{Err: "server misbehaving", Name: "iot.example.com", IsTemporary: true}, false},
		"no such host, but the proxy's": {&net.DNSError{Err: "no such host", Name: "proxy.example.com", IsNotFound: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner, err := fleetprov.New("iot.example.com", provtest.Template, provtest.Claim(t, server), provtest.OneAttempt,
				fleetprov.WithDialer(func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Err: test.failure}
				}))
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assert.ErrorIs(t, err, test.failure)
			assert.True(t, fleetprov.Retryable(err))
			if test.describe {
				assert.ErrorContains(t, err, "aws iot describe-endpoint --endpoint-type iot:Data-ATS")
			} else {
				assert.NotContains(t, err.Error(), "describe-endpoint")
			}
		})
	}
}
