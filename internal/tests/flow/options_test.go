package flow_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestNewReportsAllThatIsWrongAtOnce(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	provisioner, err := fleetprov.New("https://iot.example.com", "a template", nil,
		fleetprov.WithClientID("$gateway"),
		fleetprov.WithTLSConfig(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS11}),
		fleetprov.WithDialer(nil),
		fleetprov.WithProxy(&url.URL{Scheme: "ftp", Host: "proxy.example"}),
		fleetprov.WithGeneratedKey(),
		fleetprov.WithPrivateKey(key),
		fleetprov.WithStepTimeout(-time.Second),
		fleetprov.WithLogger(nil),
		fleetprov.WithProgress(nil),
	)
	assert.Nil(t, provisioner)
	require.Error(t, err)
	for _, rule := range []string{
		`the endpoint "https://iot.example.com" is a URL: it must be a host or host:port`,
		`the template name "a template" is not 1 to 36 letters, digits, hyphens and underscores`,
		"there is no claim: LoadPFX, ParsePFX or NewIdentity makes one",
		`the client id "$gateway" begins with $, which AWS IoT reserves`,
		"InsecureSkipVerify",
		"versions below TLS 1.2, which AWS IoT does not speak",
		"the dialer is nil",
		"scheme is not http, https, socks5 or socks5h",
		"WithGeneratedKey, WithPrivateKey and WithKeyring exclude each other",
		"AWS IoT takes RSA of at least 2048 bits, P-256, P-384 and P-521",
		"the step timeout is -1s: it must be more than zero",
		"the progress function is nil",
	} {
		assert.ErrorContains(t, err, rule)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	for name, test := range map[string]struct {
		option fleetprov.Option
		says   string
	}{
		"a negative number of attempts": {fleetprov.WithMaxAttempts(-1), "the number of attempts is -1: it must be 0, for no limit, or more"},
		"no backoff":                    {fleetprov.WithBackoff(0, 0), "the backoff is 0s to 0s: it must be more than zero"},
		"a backoff from nothing":        {fleetprov.WithBackoff(0, time.Minute), "the backoff is 0s to 1m0s: it must be more than zero"},
		"a backoff from the past":       {fleetprov.WithBackoff(-time.Second, time.Minute), "the backoff is -1s to 1m0s"},
		"a backoff that ends too early": {fleetprov.WithBackoff(time.Minute, time.Second), "the backoff is 1m0s to 1s: it must be more than zero, and not end before it begins"},
		"no function to retry by":       {fleetprov.WithRetryIf(nil), "the function of WithRetryIf is nil"},
		"no time for a step":            {fleetprov.WithStepTimeout(0), "the step timeout is 0s"},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner, err := fleetprov.New("localhost", provtest.Template, claim, test.option)
			assert.Nil(t, provisioner)
			assert.ErrorContains(t, err, test.says)
		})
	}
	for name, option := range map[string]fleetprov.Option{
		"no limit of attempts": fleetprov.WithMaxAttempts(0),
		"one attempt":          fleetprov.WithMaxAttempts(1),
		"equal waits":          fleetprov.WithBackoff(time.Second, time.Second),
		"nil":                  nil,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fleetprov.New("localhost", provtest.Template, claim, option)
			assert.NoError(t, err)
		})
	}
}

// The rule is AWS's (AWS IoT API reference, CreateProvisioningTemplate).
func TestTemplateNames(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	for name, accepted := range map[string]bool{
		"T":                              true,
		"fleet-template":                 true,
		"Fleet_Template_2":               true,
		"-_-":                            true,
		strings.Repeat("x", 36):          true,
		strings.Repeat("x", 37):          false,
		"":                               false,
		"fleet template":                 false,
		"fleet-template\n":               false,
		"fleet.template":                 false,
		"fleet/template":                 false,
		"fleet+template":                 false,
		"#":                              false,
		"$aws":                           false,
		"größe":                          false,
		"arn:aws:iot:us-east-1:1:fleet1": false,
	} {
		t.Run(name, func(t *testing.T) {
			provisioner, err := fleetprov.New("localhost", name, claim)
			assert.Equal(t, accepted, provisioner != nil)
			if accepted {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, "not 1 to 36 letters, digits, hyphens and underscores")
			}
		})
	}
}

func TestClientIDs(t *testing.T) {
	server := provtest.NewServer(t)
	claim := provtest.Claim(t, server)
	for id, says := range map[string]string{
		"gateway-7":              "",
		"größe 7/#+":             "",
		"a$b":                    "",
		strings.Repeat("x", 128): "",
		strings.Repeat("x", 129): "has 129 bytes: AWS IoT takes 1 to 128",
		strings.Repeat("ö", 65):  "has 130 bytes: AWS IoT takes 1 to 128",
		"":                       "has 0 bytes: AWS IoT takes 1 to 128",
		"$gateway":               "begins with $, which AWS IoT reserves",
		"$":                      "begins with $, which AWS IoT reserves",
	} {
		t.Run(id, func(t *testing.T) {
			provisioner, err := fleetprov.New(server.Endpoint(), provtest.Template, claim, fleetprov.WithClientID(id))
			if says != "" {
				assert.Nil(t, provisioner)
				assert.ErrorContains(t, err, says)
				return
			}
			require.NoError(t, err)
			_, err = provisioner.Provision(provtest.Context(t), nil)
			require.NoError(t, err)
			requests := server.Requests()
			assert.Equal(t, id, requests[len(requests)-1].ClientID)
		})
	}
}

func TestParametersThatAreTooLong(t *testing.T) {
	server := provtest.NewServer(t)
	for name, test := range map[string]struct {
		parameters map[string]string
		says       []string
	}{
		"a name without a character":   {map[string]string{"": "1"}, []string{"a parameter name has 0 characters: AWS IoT takes 1 to 2048"}},
		"a name of 2049 characters":    {map[string]string{strings.Repeat("ö", 2049): "1"}, []string{"a parameter name has 2049 characters: AWS IoT takes 1 to 2048"}},
		"a value of 4097 characters":   {map[string]string{"SerialNumber": strings.Repeat("ö", 4097)}, []string{`"SerialNumber" has 4097 characters: AWS IoT takes up to 4096`}},
		"a long name and a long value": {map[string]string{strings.Repeat("x", 5000): strings.Repeat("x", 6000)}, []string{"5000 characters", "6000 characters"}},
		"several at once": {map[string]string{"": "1", "A": strings.Repeat("x", 4097), "B": strings.Repeat("x", 4098)},
			[]string{"0 characters", `"A" has 4097`, `"B" has 4098`}},
	} {
		t.Run(name, func(t *testing.T) {
			credentials, err := provtest.NewProvisioner(t, server, noDial(t)).Provision(provtest.Context(t), test.parameters)
			assert.Nil(t, credentials)
			assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
			assert.False(t, fleetprov.Retryable(err))
			for _, says := range test.says {
				assert.ErrorContains(t, err, says)
			}
			assert.Less(t, len(err.Error()), 1000, "what is too long is not repeated")
		})
	}
	longest := map[string]string{strings.Repeat("ö", 2048): strings.Repeat("ß", 4096), "SerialNumber": "12345"}
	_, err := provtest.NewProvisioner(t, server).Provision(provtest.Context(t), longest)
	require.NoError(t, err)
	assert.Equal(t, longest, server.Things()[0].Parameters)
}

func TestTLSConfigIsABaseThatIsNeverChanged(t *testing.T) {
	server, states, trusted := newAWSServer(t)
	another := provtest.NewServer(t)
	base := &tls.Config{
		ServerName:   "wrong.example",
		Certificates: []tls.Certificate{another.ClaimCertificate()},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.Error("the claim is presented, not this")
			return new(tls.Certificate), nil
		},
		NextProtos: []string{"h2"},
		RootCAs:    another.RootCAs(),
		MaxVersion: tls.VersionTLS12,
	}
	before := base.Clone()
	provisioner, err := fleetprov.New(awsHost+":443", provtest.Template, provtest.Claim(t, server), trusted, dialTo(server), fleetprov.WithTLSConfig(base))
	require.NoError(t, err)
	base.MaxVersion = tls.VersionTLS13 // comes too late
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)

	state := states.last(t)
	assert.Equal(t, awsHost, state.ServerName)
	assert.Equal(t, "x-amzn-mqtt-ca", state.NegotiatedProtocol)
	assert.Equal(t, server.ClaimCertificate().Leaf.Raw, state.PeerCertificates[0].Raw)
	assert.Equal(t, uint16(tls.VersionTLS12), state.Version, "what is not overwritten stands")

	base.MaxVersion = before.MaxVersion
	assert.Equal(t, before.ServerName, base.ServerName)
	assert.Equal(t, before.Certificates, base.Certificates)
	assert.Equal(t, reflect.ValueOf(before.GetClientCertificate).Pointer(), reflect.ValueOf(base.GetClientCertificate).Pointer())
	assert.Equal(t, before.NextProtos, base.NextProtos)
	assert.True(t, before.RootCAs.Equal(base.RootCAs))
	assert.Zero(t, base.MinVersion)
}

// On a port that serves one protocol, those of the base stand.
func TestTLSConfigKeepsItsProtocolsOnOtherPorts(t *testing.T) {
	server, states, trusted := newAWSServer(t)
	base := fleetprov.WithTLSConfig(&tls.Config{NextProtos: []string{"mqtt", "x-amzn-mqtt-ca"}})
	provisioner, err := fleetprov.New(awsHost, provtest.Template, provtest.Claim(t, server), trusted, dialTo(server), base)
	require.NoError(t, err)
	_, err = provisioner.Provision(provtest.Context(t), nil)
	require.NoError(t, err)
	assert.Equal(t, "x-amzn-mqtt-ca", states.last(t).NegotiatedProtocol)
}

func TestTLSVersions(t *testing.T) {
	claim := provtest.Claim(t, provtest.NewServer(t))
	for name, test := range map[string]struct {
		config *tls.Config
		says   string
	}{
		"no configuration":                      {nil, ""},
		"an empty one":                          {&tls.Config{}, ""},
		"TLS 1.2 only":                          {&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, ""},
		"TLS 1.3 only":                          {&tls.Config{MinVersion: tls.VersionTLS13}, ""},
		"from TLS 1.1":                          {&tls.Config{MinVersion: tls.VersionTLS11}, "below TLS 1.2"},
		"from TLS 1.0 on":                       {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS13}, "below TLS 1.2"},
		"up to TLS 1.1":                         {&tls.Config{MaxVersion: tls.VersionTLS11}, "below TLS 1.2"},
		"a server that may be anyone":           {&tls.Config{InsecureSkipVerify: true}, "WithRootCAs"},
		"one that may, with a check of its own": {&tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return nil }}, "InsecureSkipVerify"},
	} {
		t.Run(name, func(t *testing.T) {
			provisioner, err := fleetprov.New("localhost", provtest.Template, claim, fleetprov.WithTLSConfig(test.config))
			if test.says == "" {
				assert.NoError(t, err)
				return
			}
			assert.Nil(t, provisioner)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

func TestServerThatSpeaksOldTLSOnly(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Start()
	defer server.Close()
	_, err := provtest.NewProvisioner(t, server, provtest.OneAttempt).Provision(provtest.Context(t), nil)
	assertOp(t, fleetprovtest.OpConnect, err)
	assert.False(t, fleetprov.Retryable(err), "%v", err)
}

// The topics are those of the AWS developer guide, "fleet-provision-api".
func TestCBORGivesWhatJSONGives(t *testing.T) {
	for name, test := range map[string]struct {
		opts   []fleetprov.Option
		create string
	}{
		"with a key made by AWS":        {nil, "$aws/certificates/create/"},
		"with a key made on the device": {[]fleetprov.Option{fleetprov.WithGeneratedKey()}, "$aws/certificates/create-from-csr/"},
	} {
		t.Run(name, func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.Parameters = []string{"SerialNumber"}
			server.DeviceConfiguration = map[string]string{"FallbackUrl": "https://www.example.com/test-site"}
			server.Start()
			defer server.Close()
			parameters := map[string]string{"SerialNumber": "12345", "Größe": "ß"}

			asJSON, err := provtest.NewProvisioner(t, server, test.opts...).Provision(provtest.Context(t), parameters)
			require.NoError(t, err)
			asCBOR, err := provtest.NewProvisioner(t, server, append(test.opts, fleetprov.WithCBOR())...).Provision(provtest.Context(t), parameters)
			require.NoError(t, err)
			assertConnects(t, server, asCBOR)

			requests := server.Requests()
			require.GreaterOrEqual(t, len(requests), 8)
			const register = "$aws/provisioning-templates/test-template/provision/"
			for i, format := range []string{"json", "cbor"} {
				assert.ElementsMatch(t, []string{
					test.create + format + "/accepted", test.create + format + "/rejected",
					register + format + "/accepted", register + format + "/rejected",
				}, requests[4*i+1].Filters)
				assert.Equal(t, test.create+format, requests[4*i+2].Topic)
				assert.Equal(t, register+format, requests[4*i+3].Topic)
			}
			assert.Less(t, len(requests[7].Payload), len(requests[3].Payload))

			issued := server.Certificates()
			require.Len(t, issued, 2)
			assert.Equal(t, issued[1].ID, asCBOR.CertificateID)
			assert.Equal(t, parameters, server.Things()[0].Parameters)
			// What differs from device to device is the certificate and its key.
			asCBOR.CertificateID, asCBOR.CertificatePEM = asJSON.CertificateID, asJSON.CertificatePEM
			require.NoError(t, asCBOR.SetPrivateKey(credentialsKey(t, asJSON)))
			assert.Equal(t, asJSON, asCBOR)
		})
	}
}

func TestCBORThatIsNotBelieved(t *testing.T) {
	const (
		create   = fleetprovtest.OpCreateKeysAndCertificate
		register = fleetprovtest.OpRegisterThing
	)
	text := func(s string) string { return string([]byte{0x78, byte(len(s))}) + s }
	thing := text("thingName")
	for name, test := range map[string]struct {
		op       fleetprovtest.Op
		payload  string
		accepted bool
	}{
		"created, empty":                {create, "", false},
		"created, cut short":            {create, "\xa4" + text("certificateId") + text("abc"), false},
		"created, JSON":                 {create, `{"certificateId":"abc"}`, false},
		"created, an id twice":          {create, "\xa2" + text("certificateId") + "\x61a" + text("certificateId") + "\x61b", false},
		"created, a number for an id":   {create, "\xa1" + text("certificateId") + "\x07", false},
		"created, 200 kB":               {create, "\xa1" + text("certificateId") + "\x7a\x00\x03\x00\x00" + strings.Repeat("x", 3<<16), false},
		"created, 4 GB announced":       {create, "\xa1" + text("certificateId") + "\x7a\xff\xff\xff\xff", false},
		"created, 4 G members":          {create, "\xba\xff\xff\xff\xff", false},
		"created, nested without end":   {create, strings.Repeat("\x81", 10_000), false},
		"created, tagged":               {create, "\xc1\xa0", false},
		"created, bytes left over":      {create, "\xa0\x00", false},
		"registered, cut short":         {register, "\xa2" + thing + text("12345"), true},
		"registered, a name twice":      {register, "\xa2" + thing + "\x61a" + thing + "\x61b", true},
		"registered, in no UTF-8":       {register, "\xa1" + thing + "\x61\xff", true},
		"registered, a list":            {register, "\x80", true},
		"registered, 4 GB announced":    {register, "\xa1" + thing + "\x7a\xff\xff\xff\xff", true},
		"registered, nested too deeply": {register, "\xa1" + text("deviceConfiguration") + "\xa1\x61a" + strings.Repeat("\x81", 40) + "\x01", true},
	} {
		t.Run(name, func(t *testing.T) {
			server := provtest.NewServer(t)
			server.Inject(test.op, fleetprovtest.Fault{Response: []byte(test.payload)})
			credentials, err := provtest.NewProvisioner(t, server, fleetprov.WithCBOR(), provtest.OneAttempt).Provision(provtest.Context(t), nil)
			assertOp(t, test.op, err)
			assert.ErrorIs(t, err, fleetprov.ErrBadResponse)
			assert.Equal(t, test.op == fleetprovtest.OpRegisterThing, fleetprov.Retryable(err), "after RegisterThing the certificate may be active")
			assert.Equal(t, test.accepted, credentials != nil, "what AWS has accepted is not thrown away")
		})
	}
}

func TestCBORRejection(t *testing.T) {
	server := provtest.NewServer(t)
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{
		Reject: &fleetprovtest.Rejection{StatusCode: 403, Code: "ACCESS_DENIED", Message: "The hook said no"}})
	_, err := provtest.NewProvisioner(t, server, fleetprov.WithCBOR(), provtest.OneAttempt).Provision(provtest.Context(t), nil)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, fleetprov.RejectedError{StatusCode: 403, Code: "ACCESS_DENIED", Message: "The hook said no"}, *rejected)
}

func TestNilOptionsAreNone(t *testing.T) {
	_, err := provtest.NewProvisioner(t, provtest.NewServer(t), nil, fleetprov.WithTLSConfig(nil), fleetprov.WithRootCAs(nil)).Provision(provtest.Context(t), nil)
	assert.NoError(t, err)
}
