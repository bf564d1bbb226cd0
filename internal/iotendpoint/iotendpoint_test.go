package iotendpoint_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/amazonroots"
	"github.com/fleetprov/fleetprov/internal/iotendpoint"
	"github.com/fleetprov/fleetprov/internal/testca"
)

func TestParse(t *testing.T) {
	for given, want := range map[string]string{
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com":      "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:8883",
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443":  "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443",
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:0443": "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443",
		"IOT.example.com":        "IOT.example.com:8883",
		"iot.example.com.":       "iot.example.com.:8883",
		"iot_internal.example":   "iot_internal.example:8883",
		"localhost:65535":        "localhost:65535",
		"192.0.2.7":              "192.0.2.7:8883",
		"192.0.2.7:1":            "192.0.2.7:1",
		"2001:db8::7":            "[2001:db8::7]:8883",
		"[2001:db8::7]":          "[2001:db8::7]:8883",
		"[2001:db8::7]:443":      "[2001:db8::7]:443",
		strings.Repeat("a", 253): strings.Repeat("a", 253) + ":8883",
	} {
		t.Run(given, func(t *testing.T) {
			endpoint, err := iotendpoint.Parse(given)
			require.NoError(t, err)
			assert.Equal(t, want, endpoint.String())
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for given, says := range map[string]string{
		"":                              "aws iot describe-endpoint",
		"https://iot.example.com":       "is a URL",
		"mqtts://iot.example.com:8883":  "is a URL",
		"iot.example.com:":              "is not a number from 1 to 65535",
		"iot.example.com:0":             "is not a number from 1 to 65535",
		"iot.example.com:65536":         "is not a number from 1 to 65535",
		"iot.example.com:-1":            "is not a number from 1 to 65535",
		"iot.example.com:mqtt":          "is not a number from 1 to 65535",
		"iot.example.com:443:443":       "is neither a host nor host:port",
		":8883":                         "does not begin with a host name",
		" iot.example.com":              "has white space around it",
		"iot.example.com/":              "has a path behind it",
		"iot.example.com:8883/mqtt":     "has a path behind it",
		"/iot.example.com":              "does not begin with a host name",
		"iot.example.com\n":             "has white space around it",
		"-iot.example.com":              "does not begin with a host name",
		"iot.example.com-":              "does not begin with a host name",
		"größe.example":                 "does not begin with a host name",
		"alice@iot.example.com":         "does not begin with a host name",
		"*.example.com":                 "does not begin with a host name",
		strings.Repeat("a", 254):        "does not begin with a host name",
		"[iot.example.com":              "does not begin with a host name",
		"[2001:db8::7":                  "is neither a host nor host:port",
		"[iot.example.com:8883]:extra]": "is neither a host nor host:port",
	} {
		t.Run(given, func(t *testing.T) {
			endpoint, err := iotendpoint.Parse(given)
			assert.Zero(t, endpoint)
			assert.ErrorContains(t, err, says)
		})
	}
}

// FuzzParse: an error means a zero result; what is accepted can be dialled and is
// itself an endpoint.
func FuzzParse(f *testing.F) {
	for _, given := range []string{"", "iot.example.com", "iot.example.com:443", "[2001:db8::7]:443", "[::1]", "::1", "::1%eth0", "https://x", "a:0", "a:b:c", "[a]:1", "a:00443", "xxxxxxxx.credentials.iot.eu-west-1.amazonaws.com", `"iot.example.com"`, " \ufeffiot.example.com\n"} {
		f.Add(given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		endpoint, err := iotendpoint.Parse(given)
		if err != nil {
			assert.Zero(t, endpoint)
			assert.NotContains(t, err.Error(), "\n")
			return
		}
		host, port, err := net.SplitHostPort(endpoint.String())
		require.NoError(t, err)
		assert.Equal(t, endpoint, iotendpoint.Endpoint{Host: host, Port: port})
		number, err := strconv.ParseUint(port, 10, 16)
		require.NoError(t, err)
		assert.NotZero(t, number)
		assert.Equal(t, strconv.FormatUint(number, 10), port, "one spelling of each port, which ALPN depends on")
		again, err := iotendpoint.Parse(endpoint.String())
		require.NoError(t, err)
		assert.Equal(t, endpoint, again)
		assert.False(t, endpoint.IsIP() && endpoint.IsAWS())
	})
}

// The protocol's name is that of the AWS developer guide, "protocols".
func TestTLSConfig(t *testing.T) {
	certificate := testca.New("a root").Client("claim", testca.Validity{})
	other := testca.New("another root").Client("another", testca.Validity{})
	roots := x509.NewCertPool()
	base := &tls.Config{ServerName: "elsewhere.example", NextProtos: []string{"mqtt"}, Certificates: []tls.Certificate{other}, MinVersion: tls.VersionTLS13}
	for name, test := range map[string]struct {
		port      string
		base      *tls.Config
		protocols []string
		version   uint16
	}{
		"without a base":                   {"8883", nil, nil, tls.VersionTLS12},
		"with an empty one":                {"8883", &tls.Config{}, nil, tls.VersionTLS12},
		"with a base":                      {"8883", base, []string{"mqtt"}, tls.VersionTLS13},
		"on port 443":                      {"443", nil, []string{"x-amzn-mqtt-ca"}, tls.VersionTLS12},
		"on port 443, with another's":      {"443", base, []string{"x-amzn-mqtt-ca"}, tls.VersionTLS13},
		"with a version that is too old":   {"8883", &tls.Config{MinVersion: tls.VersionTLS10}, nil, tls.VersionTLS12},
		"on a port that begins with 443":   {"4433", nil, nil, tls.VersionTLS12},
		"on a port that looks like no 443": {"8443", nil, nil, tls.VersionTLS12},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.base.Clone()
			config := iotendpoint.Endpoint{Host: "iot.example.com", Port: test.port}.TLSConfig(test.base, roots, &certificate)
			assert.Equal(t, "iot.example.com", config.ServerName)
			assert.Same(t, roots, config.RootCAs)
			assert.Equal(t, test.protocols, config.NextProtos)
			assert.Equal(t, test.version, config.MinVersion)
			assert.Empty(t, config.Certificates, "crypto/tls would not send them to a server that names other authorities")
			presented, err := config.GetClientCertificate(&tls.CertificateRequestInfo{AcceptableCAs: [][]byte{{1}}})
			require.NoError(t, err)
			assert.Same(t, &certificate, presented)
			if test.base != nil {
				assert.Equal(t, before.ServerName, test.base.ServerName, "the base stays as it is")
				assert.Equal(t, before.NextProtos, test.base.NextProtos)
				assert.Equal(t, before.Certificates, test.base.Certificates)
				assert.Nil(t, test.base.GetClientCertificate)
			}
		})
	}
}

func TestTrust(t *testing.T) {
	root := testca.New("a root").Certificate()
	amazons := x509.NewCertPool()
	for _, certificate := range amazonroots.Certificates() {
		amazons.AddCert(certificate)
	}
	assert.True(t, iotendpoint.Trust(nil).Equal(amazons))
	amazons.AddCert(root)
	assert.True(t, iotendpoint.Trust([]*x509.Certificate{root}).Equal(amazons))
}
