package flow_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestEndpointForms(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	for endpoint, dialled := range map[string]string{
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com":      "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:8883",
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:8883": "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:8883",
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443":  "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:443",
		"xxxxxxxx.ats.iot.cn-north-1.amazonaws.com.cn":  "xxxxxxxx.ats.iot.cn-north-1.amazonaws.com.cn:8883",
		"xxxxxxxx.iot.eu-west-1.amazonaws.com":          "xxxxxxxx.iot.eu-west-1.amazonaws.com:8883",
		"xxxxxxxx.jobs.iot.eu-west-1.example.com":       "xxxxxxxx.jobs.iot.eu-west-1.example.com:8883",
		"credentials.iot.example.com":                   "credentials.iot.example.com:8883",
		"iot.example.com:1":                             "iot.example.com:1",
		"iot.example.com:65535":                         "iot.example.com:65535",
		"iot.example.com:0443":                          "iot.example.com:443",
		"IOT.Example.COM":                               "IOT.Example.COM:8883",
		"iot.example.com.":                              "iot.example.com.:8883",
		"broker":                                        "broker:8883",
		"broker_1:8883":                                 "broker_1:8883",
		"localhost":                                     "localhost:8883",
		"192.0.2.1":                                     "192.0.2.1:8883",
		"192.0.2.1:443":                                 "192.0.2.1:443",
		"::1":                                           "[::1]:8883",
		"[::1]":                                         "[::1]:8883",
		"[::1]:443":                                     "[::1]:443",
		"2001:db8::7":                                   "[2001:db8::7]:8883",
		"[2001:db8::7]:1883":                            "[2001:db8::7]:1883",
		strings.Repeat("x", 63) + ".iot.example.com:8883": strings.Repeat("x", 63) + ".iot.example.com:8883",
	} {
		t.Run(endpoint, func(t *testing.T) {
			away := errors.New("nobody there")
			var got string
			provisioner, err := fleetprov.New(endpoint, provtest.Template, claim, provtest.OneAttempt,
				fleetprov.WithDialer(func(_ context.Context, network, address string) (net.Conn, error) {
					assert.Equal(t, "tcp", network)
					got = address
					return nil, away
				}))
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			assert.ErrorIs(t, err, away)
			assert.Equal(t, dialled, got)
		})
	}
}

func TestEndpointsThatAreRefused(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	const (
		url  = "is a URL: it must be a host or host:port"
		port = "is not a number from 1 to 65535"
		host = "does not begin with a host name"
		form = "is neither a host nor host:port"
		path = "has a path behind it"

		space       = "has white space around it"
		quotes      = "has quotes in it"
		credentials = "AWS IoT's credentials service, where nothing answers MQTT: aws iot describe-endpoint --endpoint-type iot:Data-ATS prints the right one"
		jobs        = "AWS IoT's jobs service, where nothing answers MQTT: aws iot describe-endpoint --endpoint-type iot:Data-ATS prints the right one"
	)
	for endpoint, says := range map[string]string{
		"": "aws iot describe-endpoint",
		"https://xxxxxxxx-ats.iot.eu-west-1.amazonaws.com":    url,
		"mqtts://xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:88": url,
		"ssl://": url,
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com/":                path,
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com/mqtt":            path,
		"iot.example.com:8883/mqtt":                                path,
		"iot.example.com/mqtt:8883":                                path,
		" iot.example.com":                                         space,
		"iot.example.com ":                                         space,
		"iot.example.com:8883 ":                                    space,
		"\ufeffiot.example.com":                                    space,
		"iot.example.com\r\n":                                      space,
		"iot.example.com\u00a0":                                    space,
		`"iot.example.com"`:                                        quotes,
		`'iot.example.com:8883'`:                                   quotes,
		`“iot.example.com”`:                                        quotes,
		`{"endpointAddress": "x-ats.iot.eu-west-1.amazonaws.com"}`: "--output text",
		"xxxxxxxx.credentials.iot.eu-west-1.amazonaws.com":         credentials,
		"XXXXXXXX.Credentials.IoT.eu-west-1.amazonaws.com.:443":    credentials,
		"xxxxxxxx.credentials.iot.cn-north-1.amazonaws.com.cn":     credentials,
		"xxxxxxxx.jobs.iot.eu-west-1.amazonaws.com:8443":           jobs,
		"data.jobs.iot.eu-west-1.amazonaws.com":                    jobs,
		"/iot.example.com":                                         host,
		"iot example.com":                                          host,
		"iot.example.com\n":                                        space,
		"\tiot.example.com:8883":                                   space,
		" ":                                                        space,
		":8883":                                                    host,
		":":                                                        port,
		"iot.example.com:":                                         port,
		"iot.example.com:0":                                        port,
		"iot.example.com:65536":                                    port,
		"iot.example.com:-1":                                       port,
		"iot.example.com:+443":                                     port,
		"iot.example.com:https":                                    port,
		"iot.example.com:8883:8883":                                form,
		"[::1]:":                                                   port,
		"[::1]:99999":                                              port,
		"[::1":                                                     form,
		"::1]":                                                     form,
		"]::1[":                                                    form,
		"[[::1]]":                                                  form,
		"[]":                                                       host,
		"[]:8883":                                                  host,
		"[iot.example.com]":                                        host,
		"2001:db8:::7":                                             form,
		"user@iot.example.com":                                     host,
		"-iot.example.com":                                         host,
		"iot.example.com?x":                                        host,
		"*.iot.example.com":                                        host,
		"größe.example.com":                                        host,
		strings.Repeat("x", 254):                                   host,
	} {
		t.Run(endpoint, func(t *testing.T) {
			provisioner, err := fleetprov.New(endpoint, provtest.Template, claim)
			assert.Nil(t, provisioner)
			assert.ErrorContains(t, err, says)
			assert.ErrorContains(t, err, "endpoint")
		})
	}
}

// endpointStates remembers the TLS connections that a server has accepted.
type endpointStates struct {
	mu     sync.Mutex
	states []tls.ConnectionState
}

func (s *endpointStates) record(state tls.ConnectionState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, state)
	return nil
}

func (s *endpointStates) last(t *testing.T) tls.ConnectionState {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(t, s.states)
	return s.states[len(s.states)-1]
}

// awsHost is the host of an endpoint as AWS documents it.
const awsHost = "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com"

// newAWSServer starts an endpoint with the certificate of awsHost, and returns
// options that trust it. As AWS does on port 443, it knows one protocol.
func newAWSServer(t *testing.T) (*fleetprovtest.Server, *endpointStates, fleetprov.Option) {
	t.Helper()
	states := new(endpointStates)
	ca := testca.New("a root")
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{
		Certificates:     []tls.Certificate{ca.Server(testca.Validity{}, awsHost)},
		NextProtos:       []string{"x-amzn-mqtt-ca"},
		VerifyConnection: states.record,
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, states, fleetprov.WithRootCAs(ca.Pool())
}

// dialTo dials server whatever the address is.
func dialTo(server *fleetprovtest.Server) fleetprov.Option {
	return fleetprov.WithDialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Endpoint())
	})
}

// Port 443 serves other protocols too (AWS developer guide, "protocols").
func TestALPNIsNegotiatedOnPort443Only(t *testing.T) {
	server, states, trusted := newAWSServer(t)
	for endpoint, protocol := range map[string]string{
		awsHost:            "",
		awsHost + ":8883":  "",
		awsHost + ":443":   "x-amzn-mqtt-ca",
		awsHost + ":00443": "x-amzn-mqtt-ca",
	} {
		t.Run(endpoint, func(t *testing.T) {
			provisioner, err := fleetprov.New(endpoint, provtest.Template, provtest.Claim(t, server), trusted, dialTo(server))
			require.NoError(t, err)
			credentials, err := provisioner.Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			assert.Equal(t, protocol, states.last(t).NegotiatedProtocol)
			assert.Equal(t, awsHost, states.last(t).ServerName)

			config, err := credentials.TLSConfig()
			require.NoError(t, err)
			assert.Equal(t, protocol != "", len(config.NextProtos) == 1, "the device connects in the same way")
		})
	}
}
