package fleetprovtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// mqttALPN is the protocol that clients offer on port 443 (protocols).
const mqttALPN = "x-amzn-mqtt-ca"

// doorman decides which clients get through the TLS handshake (transport-security: TLS
// 1.2 or 1.3, mutual). It does not change.
type doorman struct {
	authority   *authority
	names       []string // of the server; nil: it goes by any
	requireALPN bool
	gate        gate
	refusal     Refusal
	ownCA       bool // other authorities than the server's sign certificates, too
}

// config completes the configuration that the caller may have set.
func (d *doorman) config(set *tls.Config) *tls.Config {
	config := &tls.Config{}
	if set != nil {
		config = set.Clone()
	}
	if config.Time == nil {
		config.Time = d.gate.now
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{mqttALPN}
	}
	if config.Certificates == nil && config.GetCertificate == nil && config.GetConfigForClient == nil {
		config.Certificates = []tls.Certificate{d.serverCertificate()}
	}
	if config.ClientAuth == tls.NoClientCert {
		config.ClientAuth = tls.RequireAnyClientCert
		if d.refusal == RefuseInHandshake && config.ClientCAs == nil && !d.ownCA {
			// The gate would do; verifying the chain as well gives clients the
			// alerts unknown_ca and certificate_expired in place of bad_certificate.
			config.ClientCAs = d.authority.deviceCA.Pool()
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	config.SessionTicketsDisabled = true
	if config.GetConfigForClient == nil {
		config.GetConfigForClient = d.checkHello
	}
	config.VerifyConnection = d.checkConnection(config.VerifyConnection)
	return config
}

func (d *doorman) serverCertificate() tls.Certificate {
	names := d.names
	if len(names) == 0 {
		names = []string{"localhost"}
	}
	return d.authority.serverCertificate(names...)
}

// checkHello refuses clients that do not ask for a host of the server, or do not
// offer the protocol where that is required.
func (d *doorman) checkHello(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	asked := func(name string) bool { return strings.EqualFold(name, hello.ServerName) }
	switch {
	case hello.ServerName == "":
		return nil, errors.New("the client names no host (SNI)")
	case len(d.names) > 0 && !slices.ContainsFunc(d.names, asked):
		return nil, fmt.Errorf("the client names another host (SNI): %q", hello.ServerName)
	case d.requireALPN && !slices.Contains(hello.SupportedProtos, mqttALPN):
		return nil, errors.New("the client does not offer the protocol " + mqttALPN + " (ALPN)")
	}
	return nil, nil
}

// checkConnection refuses certificates that are to be refused in the handshake, before the
// caller's own check.
func (d *doorman) checkConnection(own func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if d.refusal == RefuseInHandshake && len(state.PeerCertificates) > 0 {
			if err := d.gate.check(state.PeerCertificates[0]); err != nil {
				return fmt.Errorf("fleetprovtest: %w", err)
			}
		}
		if own != nil {
			return own(state)
		}
		return nil
	}
}
