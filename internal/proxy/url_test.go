package proxy

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckAccepts(t *testing.T) {
	for _, raw := range []string{
		"http://proxy.example",
		"https://proxy.example:8443/",
		"socks5://192.0.2.1",
		"socks5h://[2001:db8::1]:1081",
		"HTTP://[fe80::1%25eth0]:3128",
		"http://proxy.example:65535",
		"http://alice:s3cret@proxy.example",
		"http://:s3cret@proxy.example",
		"http://alice@proxy.example",
		"socks5://alice@proxy.example",
		"socks5://" + strings.Repeat("u", 255) + ":" + strings.Repeat("p", 255) + "@proxy.example",
	} {
		t.Run(raw, func(t *testing.T) {
			assert.NoError(t, Check(mustParse(t, raw)))
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		name string
		u    *url.URL
		want string
	}{
		{"no URL", nil, "nil"},
		{"an empty URL", mustParse(t, ""), "scheme"},
		{"another scheme", mustParse(t, "ftp://alice:s3cret@proxy.example"), "scheme"},
		{"SOCKS4", mustParse(t, "socks4://proxy.example"), "scheme"},
		{"a host and port alone", mustParse(t, "alice:s3cret@proxy.example:3128"), "scheme"},
		{"no host", mustParse(t, "http:proxy.example"), "no host"},
		{"a port alone", mustParse(t, "http://alice:s3cret@:3128"), "no host"},
		{"port 0", mustParse(t, "http://alice:s3cret@proxy.example:0"), "port 0 "},
		{"port 65536", mustParse(t, "http://alice:s3cret@proxy.example:65536"), "port 65536 "},
		{"a port that is no number", &url.URL{Scheme: "http", Host: "proxy.example:http"}, "neither a name nor an address"},
		{"an IPv6 address without brackets", &url.URL{Scheme: "http", Host: "2001:db8::g"}, "neither a name nor an address"},
		{"half a bracket", mustParse(t, "http://alice:s3cret@]"), "neither a name nor an address"},
		{"a line break in the host", &url.URL{Scheme: "http", Host: "proxy.example\r\n"}, "neither a name nor an address"},
		{"the URL of a script", mustParse(t, "http://alice:s3cret@proxy.example/proxy.pac"), "path"},
		{"a query", mustParse(t, "http://alice:s3cret@proxy.example?x"), "query"},
		{"a fragment", mustParse(t, "http://alice:s3cret@proxy.example#x"), "fragment"},
		{"a slash in the password", mustParse(t, "http://alice:12/s3cret@proxy.example"), "percent-encoded"},
		{"a number sign in the password", mustParse(t, "http://alice:12#s3cret@proxy.example"), "percent-encoded"},
		{"a colon in the user of HTTP", mustParse(t, "http://al%3Aice:s3cret@proxy.example"), "colon"},
		{"a password without user for SOCKS5", mustParse(t, "socks5://:s3cret@proxy.example"), "user is empty"},
		{"a user too long for SOCKS5", mustParse(t, "socks5://"+strings.Repeat("alice", 52)+":s3cret@proxy.example"), "255"},
		{"a password too long for SOCKS5", mustParse(t, "socks5h://alice:"+strings.Repeat("s3cret", 43)+"@proxy.example"), "255"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.u)
			require.ErrorContains(t, err, tt.want)
			assertNoCredentials(t, err)
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("http://alice:s3cret@proxy.example:3128")
	f.Add("socks5://[2001:db8::1%25eth0]")
	f.Add("https://proxy.example:00443/")
	f.Add("socks5://]")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || Check(u) != nil {
			return
		}
		host, port, err := net.SplitHostPort(hostPort(u))
		require.NoError(t, err)
		assert.Equal(t, u.Hostname(), host)
		number, err := net.DefaultResolver.LookupPort(t.Context(), "tcp", port)
		require.NoError(t, err)
		assert.NotZero(t, number)
	})
}
