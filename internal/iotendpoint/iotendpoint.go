// Package iotendpoint knows the address of an AWS IoT data endpoint, and the TLS
// configuration that connects to it.
package iotendpoint

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

// Endpoint is the data endpoint of an AWS account in a region.
type Endpoint struct{ Host, Port string }

// describe is the command that prints the endpoint of an account.
const describe = "aws iot describe-endpoint --endpoint-type iot:Data-ATS"

// Parse takes host or host:port; the port is 8883 if none is named. A custom domain is
// an endpoint too, so that of the names that AWS gives only those of other services
// are refused.
func Parse(s string) (Endpoint, error) {
	const (
		space  = "\ufeff\u200b" // a byte order mark and a space without width, beside what Unicode calls space
		quotes = "\"'`´‘’‚“”„«»"
	)
	bare := strings.Trim(strings.TrimSpace(s), space)
	switch {
	case s == "":
		return Endpoint{}, errors.New("the endpoint is empty: " + describe + " prints it")
	case bare != s:
		return Endpoint{}, fmt.Errorf("the endpoint %q has white space around it: it must be a host or host:port alone", s)
	case strings.ContainsAny(s, quotes):
		return Endpoint{}, fmt.Errorf("the endpoint %q has quotes in it: it must be a host or host:port alone, as %s --output text prints it", s, describe)
	case strings.Contains(s, "://"):
		return Endpoint{}, fmt.Errorf("the endpoint %q is a URL: it must be a host or host:port", s)
	case strings.Index(s, "/") > 0:
		return Endpoint{}, fmt.Errorf("the endpoint %q has a path behind it: it must be a host or host:port", s)
	}
	host, port := s, mqttPort
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") {
		whole := s
		if strings.HasSuffix(s, "]") { // an IPv6 address without a port
			whole = s + ":" + mqttPort
		}
		if host, port, err = net.SplitHostPort(whole); err != nil {
			return Endpoint{}, fmt.Errorf("the endpoint %q is neither a host nor host:port", s)
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return Endpoint{}, fmt.Errorf("the port of the endpoint %q is not a number from 1 to 65535", s)
	}
	port = strconv.FormatUint(number, 10) // 0443 is httpsPort too
	if _, err := netip.ParseAddr(host); err != nil && !isHostname(host) {
		return Endpoint{}, fmt.Errorf("the endpoint %q does not begin with a host name", s)
	}
	e := Endpoint{host, port}
	for _, service := range []string{"credentials", "jobs"} {
		if e.IsAWS() && strings.Contains("."+e.name(), "."+service+".iot.") {
			return Endpoint{}, fmt.Errorf("the endpoint %q is that of AWS IoT's %s service, where nothing answers MQTT: %s prints the right one", s, service, describe)
		}
	}
	return e, nil
}

// IsIP reports whether the host is an IP address. AWS IoT needs a name, which TLS
// sends as SNI (AWS developer guide, "transport-security").
func (e Endpoint) IsIP() bool {
	_, err := netip.ParseAddr(e.Host)
	return err == nil
}

// IsAWS reports whether the host has a name of AWS's own, which no custom domain has.
func (e Endpoint) IsAWS() bool {
	host := e.name()
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// IsLegacy reports whether the host is the endpoint of an account as it was before
// Amazon Trust Services: <prefix>.iot.<region>.amazonaws.com, without ats.
func (e Endpoint) IsLegacy() bool {
	prefix, rest, _ := strings.Cut(e.name(), ".")
	return e.IsAWS() && strings.HasPrefix(rest, "iot.") && !strings.HasSuffix(prefix, "-ats")
}

// HasALPN reports whether MQTT is asked for by ALPN, on the port that serves other
// protocols too.
func (e Endpoint) HasALPN() bool { return e.Port == httpsPort }

// name is the host as it is compared.
func (e Endpoint) name() string { return strings.TrimSuffix(strings.ToLower(e.Host), ".") }

// isHostname takes a name as DNS has it, with underscores and a final dot.
func isHostname(s string) bool {
	const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 253 && strings.Trim(s, alphanumeric+"._-") == "" &&
		!strings.ContainsAny(s[:1], "._-") && !strings.ContainsAny(s[len(s)-1:], "_-")
}

// String returns host:port.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, e.Port) }

// TLSConfig returns a copy of base, which may be nil, that trusts roots, asks for the
// endpoint's host and presents certificate to it.
func (e Endpoint) TLSConfig(base *tls.Config, roots *x509.CertPool, certificate *tls.Certificate) *tls.Config {
	config := base.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName = e.Host
	config.RootCAs = roots
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if e.HasALPN() {
		config.NextProtos = []string{mqttProtocol}
	}
	// With Certificates, crypto/tls sends none if the server names authorities that
	// did not issue it. A server that knows the certificate itself accepts it.
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	return config
}

// Trust returns a pool of Amazon's roots and more.
func Trust(more []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range append(amazonroots.Certificates(), more...) {
		pool.AddCert(root)
	}
	return pool
}
