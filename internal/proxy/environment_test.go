package proxy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var variables = []string{
	"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy",
}

func setEnvironment(t *testing.T, environment map[string]string) {
	for _, name := range variables {
		t.Setenv(name, environment[name])
	}
}

func TestFromEnvironment(t *testing.T) {
	const given = "http://alice:s3cret@proxy.example:3128"
	type env = map[string]string
	tests := []struct {
		name        string
		environment env
		address     string
		want        string
	}{
		{"nothing is set", nil, endpoint, ""},
		{"HTTPS_PROXY", env{"HTTPS_PROXY": given}, endpoint, given},
		{"https_proxy", env{"https_proxy": given}, endpoint, given},
		{"https_proxy takes precedence over HTTPS_PROXY", env{"https_proxy": given, "HTTPS_PROXY": "http://other.example"}, endpoint, given},
		{"ALL_PROXY", env{"ALL_PROXY": given}, endpoint, given},
		{"all_proxy", env{"all_proxy": given}, endpoint, given},
		{"all_proxy takes precedence over ALL_PROXY", env{"all_proxy": given, "ALL_PROXY": "http://other.example"}, endpoint, given},
		{"HTTPS_PROXY takes precedence over all_proxy", env{"HTTPS_PROXY": given, "all_proxy": "http://other.example"}, endpoint, given},
		{"HTTP_PROXY is for other connections", env{"HTTP_PROXY": given, "http_proxy": given}, endpoint, ""},
		{"any port", env{"HTTPS_PROXY": given}, "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com:8883", given},
		{"an https proxy", env{"HTTPS_PROXY": "https://proxy.example"}, endpoint, "https://proxy.example"},
		{"a SOCKS5 proxy", env{"ALL_PROXY": "socks5h://proxy.example"}, endpoint, "socks5h://proxy.example"},
		{"a host and port alone", env{"HTTPS_PROXY": "proxy.example:3128"}, endpoint, "http://proxy.example:3128"},
		{"an address and port alone", env{"ALL_PROXY": "192.0.2.1:3128"}, endpoint, "http://192.0.2.1:3128"},
		{"a user, host and port alone", env{"HTTPS_PROXY": "alice:s3cret@proxy.example:3128"}, endpoint, given},

		{"NO_PROXY has the domain", env{"HTTPS_PROXY": given, "NO_PROXY": "example.org, amazonaws.com"}, endpoint, ""},
		{"no_proxy has the domain", env{"ALL_PROXY": given, "no_proxy": ".amazonaws.com"}, endpoint, ""},
		{"NO_PROXY has the domain at this port", env{"HTTPS_PROXY": given, "NO_PROXY": "amazonaws.com:443"}, endpoint, ""},
		{"NO_PROXY has the domain at another port", env{"HTTPS_PROXY": given, "NO_PROXY": "amazonaws.com:8883"}, endpoint, given},
		{"NO_PROXY has another domain", env{"ALL_PROXY": given, "NO_PROXY": "aws.com"}, endpoint, given},
		{"NO_PROXY has everything", env{"ALL_PROXY": given, "NO_PROXY": "*"}, endpoint, ""},
		{"NO_PROXY has the network", env{"HTTPS_PROXY": given, "NO_PROXY": "192.0.2.0/24"}, "192.0.2.7:8883", ""},
		{"NO_PROXY has the IPv6 network", env{"HTTPS_PROXY": given, "NO_PROXY": "2001:db8::/32"}, "[2001:db8::7]:8883", ""},
		{"NO_PROXY excepts from a proxy that is none", env{"HTTPS_PROXY": "ftp://proxy.example", "NO_PROXY": "*"}, endpoint, ""},
		{"localhost", env{"HTTPS_PROXY": given}, "localhost:8883", ""},
		{"a loopback address", env{"ALL_PROXY": given}, "127.0.0.1:8883", ""},
		{"the IPv6 loopback address", env{"ALL_PROXY": given}, "[::1]:8883", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setEnvironment(t, tt.environment)
			u, err := FromEnvironment(tt.address)
			require.NoError(t, err)
			if tt.want == "" {
				assert.Nil(t, u)
				return
			}
			require.NotNil(t, u)
			assert.Equal(t, tt.want, u.String())
		})
	}
}

func TestFromEnvironmentIsReadAtEachCall(t *testing.T) {
	for _, want := range []string{"http://one.example", "http://two.example"} {
		setEnvironment(t, map[string]string{"HTTPS_PROXY": want})
		u, err := FromEnvironment(endpoint)
		require.NoError(t, err)
		require.NotNil(t, u)
		assert.Equal(t, want, u.String())
	}
}

func TestFromEnvironmentRefuses(t *testing.T) {
	tests := []struct {
		name, variable, value string
	}{
		{"what is no URL", "HTTPS_PROXY", "http://alice:s3cret@proxy.example:port"},
		{"another scheme", "https_proxy", "ftp://alice:s3cret@proxy.example"},
		{"a scheme alone", "ALL_PROXY", "http://"},
		{"a slash in the password", "all_proxy", "http://alice:12/s3cret@proxy.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setEnvironment(t, map[string]string{tt.variable: tt.value})
			u, err := FromEnvironment(endpoint)
			assert.Nil(t, u)
			require.ErrorIs(t, err, ErrEnvironment)
			assert.True(t, strings.HasPrefix(err.Error(), tt.variable), "%v", err)
			assertNoCredentials(t, err)
		})
	}
}

func FuzzFromEnvironment(f *testing.F) {
	f.Add("http://alice:s3cret@proxy.example:3128", "example.org,192.0.2.0/24", endpoint)
	f.Add("proxy.example:3128", "*", "[2001:db8::7]:8883")
	f.Add("http://%zz", "", "localhost:8883")
	f.Fuzz(func(t *testing.T, value, exceptions, address string) {
		if strings.Contains(value+exceptions, "\x00") {
			t.Skip("no environment holds NUL")
		}
		setEnvironment(t, map[string]string{"HTTPS_PROXY": value, "NO_PROXY": exceptions})
		u, err := FromEnvironment(address)
		if err != nil {
			assert.Nil(t, u)
			return
		}
		if u != nil {
			assert.NoError(t, Check(u))
		}
	})
}
