package fleetprovtest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/internal/testca"
)

// mqttALPN is the protocol that clients offer on port 443 (protocols).
const mqttALPN = "x-amzn-mqtt-ca"

// tlsConfig completes the configuration that the caller may have set
// (transport-security: TLS 1.2 or 1.3, mutual).
func (s *Server) tlsConfig() *tls.Config {
	config := &tls.Config{}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	if config.Time == nil {
		config.Time = s.now
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{mqttALPN}
	}
	if config.Certificates == nil && config.GetCertificate == nil && config.GetConfigForClient == nil {
		config.Certificates = []tls.Certificate{s.serverCertificate()}
	}
	if config.ClientAuth == tls.NoClientCert {
		if config.ClientCAs == nil {
			// The chain is verified only for the sake of the alerts:
			// unknown_ca and certificate_expired in place of bad_certificate.
			config.ClientCAs = s.deviceCA.Pool()
			config.ClientAuth = tls.RequireAndVerifyClientCert
		} else {
			config.ClientAuth = tls.RequireAnyClientCert
		}
	}
	config.SessionTicketsDisabled = true
	if config.GetConfigForClient == nil {
		config.GetConfigForClient = s.checkHello
	}
	s.checkCertificate(config)
	return config
}

func (s *Server) serverCertificate() tls.Certificate {
	names := s.ServerNames
	if len(names) == 0 {
		names = []string{"localhost"}
	}
	return s.serverCA.Server(testca.Validity{}, names...)
}

// checkHello refuses clients that do not ask for a host of the server, or do not
// offer the protocol where that is required.
func (s *Server) checkHello(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	asked := func(name string) bool { return strings.EqualFold(name, hello.ServerName) }
	switch {
	case hello.ServerName == "":
		return nil, errors.New("the client names no host (SNI)")
	case len(s.ServerNames) > 0 && !slices.ContainsFunc(s.ServerNames, asked):
		return nil, fmt.Errorf("the client names another host (SNI): %q", hello.ServerName)
	case s.requiresALPN() && !slices.Contains(hello.SupportedProtos, mqttALPN):
		return nil, errors.New("the client does not offer the protocol " + mqttALPN + " (ALPN)")
	}
	return nil, nil
}

func (s *Server) requiresALPN() bool {
	addr, ok := s.Listener.Addr().(*net.TCPAddr)
	return s.RequireALPN || ok && addr.Port == 443
}

// checkCertificate refuses clients whose certificate is not active.
func (s *Server) checkCertificate(config *tls.Config) {
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 {
			if err := s.certificateError(state.PeerCertificates[0]); err != nil {
				return fmt.Errorf("fleetprovtest: %w", err)
			}
		}
		if verify != nil {
			return verify(state)
		}
		return nil
	}
}

// certificateError returns why a client may not connect with a certificate, or nil.
func (s *Server) certificateError(certificate *x509.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch status := s.statusLocked(certificateID(certificate)); status {
	case StatusActive:
		return nil
	case "":
		return errors.New("the certificate is not known")
	default:
		return fmt.Errorf("the certificate is %s", status)
	}
}
