package fleetprov

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fleetprov/fleetprov/internal/amazonroots"
)

const (
	mqttPort = "8883"

	// Port 443 serves other protocols too, and tells them apart by ALPN (AWS
	// developer guide, "protocols").
	httpsPort    = "443"
	mqttProtocol = "x-amzn-mqtt-ca"
)

// endpoint is the data endpoint of an AWS account in a region.
type endpoint struct{ host, port string }

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isHostname takes a name as DNS has it, with underscores and a final dot.
func isHostname(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, alphanumeric+"._-") == "" &&
		!strings.ContainsAny(s[:1], "._-") && !strings.ContainsAny(s[len(s)-1:], "_-")
}

// parseEndpoint takes host or host:port. It cannot know AWS's hosts by their
// names: a custom domain is one too.
func parseEndpoint(s string) (endpoint, error) {
	switch {
	case s == "":
		return endpoint{}, errors.New("the endpoint is empty: aws iot describe-endpoint --endpoint-type iot:Data-ATS prints it")
	case strings.Contains(s, "://"):
		return endpoint{}, fmt.Errorf("the endpoint %q is a URL: it must be a host or host:port", s)
	}
	host, port := s, mqttPort
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") {
		whole := s
		if strings.HasSuffix(s, "]") { // an IPv6 address without a port
			whole = s + ":" + mqttPort
		}
		if host, port, err = net.SplitHostPort(whole); err != nil {
			return endpoint{}, fmt.Errorf("the endpoint %q is neither a host nor host:port", s)
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return endpoint{}, fmt.Errorf("the port of the endpoint %q is not a number from 1 to 65535", s)
	}
	port = strconv.FormatUint(number, 10) // 0443 is httpsPort too
	if _, err := netip.ParseAddr(host); err != nil && !isHostname(host) {
		return endpoint{}, fmt.Errorf("the endpoint %q does not begin with a host name", s)
	}
	return endpoint{host, port}, nil
}

func (e endpoint) String() string { return net.JoinHostPort(e.host, e.port) }

// tlsConfig is base, which may be nil, made ready to present certificate to the
// endpoint.
func (e endpoint) tlsConfig(base *tls.Config, roots *x509.CertPool, certificate *tls.Certificate) *tls.Config {
	config := base.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName = e.host
	config.RootCAs = roots
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if e.port == httpsPort {
		config.NextProtos = []string{mqttProtocol}
	}
	// Certificates would be held back if the server names authorities that did
	// not issue them. A server that knows the certificate itself takes it.
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	return config
}

// trust is what a server's certificate may chain to when nothing else is said.
func trust(roots []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range append(amazonroots.Certificates(), roots...) {
		pool.AddCert(root)
	}
	return pool
}
