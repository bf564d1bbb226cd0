package proxy

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpproxy"
)

func TestExceptions(t *testing.T) {
	const host, port = "data.iot.example.com", "8883"
	for exceptions, excepted := range map[string]bool{
		"":                        false,
		" , ,":                    false,
		"*":                       true,
		"other.example, *":        true,
		"example.com":             true,
		" EXAMPLE.com ":           true,
		"data.iot.example.com":    true,
		".example.com":            true,
		"*.example.com":           true,
		".data.iot.example.com":   false,
		"*.data.iot.example.com":  false,
		"ample.com":               false,
		"*ample.com":              false,
		"iot.example.com:8883":    true,
		"iot.example.com:443":     false,
		"192.0.2.0/24,.com":       true,
		"192.0.2.0/24,::/0,a,b.c": false,
		":8883":                   false,
	} {
		assert.Equal(t, excepted, excepts(exceptions, host+":"+port), "NO_PROXY=%s", exceptions)
		assert.Equal(t, excepted, excepts(exceptions, strings.ToUpper(host)+":"+port), "NO_PROXY=%s", exceptions)
	}
	assert.False(t, excepts(":8883", host+".:"+port), "NO_PROXY without a name")
	for exceptions, excepted := range map[string]bool{
		"192.0.2.7":        true,
		"192.0.2.7:8883":   true,
		"192.0.2.7:443":    false,
		"192.0.2.8":        false,
		"192.0.2.0/24":     true,
		"192.0.2.99/24":    true,
		"198.51.100.0/24":  false,
		"2.7":              false,
		"::ffff:192.0.2.7": true,
	} {
		assert.Equal(t, excepted, excepts(exceptions, "192.0.2.7:8883"), "NO_PROXY=%s", exceptions)
	}
	for exceptions, excepted := range map[string]bool{
		"2001:db8::7":        true,
		"2001:DB8:0::7":      true,
		"[2001:db8::7]:8883": true,
		"[2001:db8::7]:443":  false,
		"2001:db8::/32":      true,
		"2001:db9::/32":      false,
	} {
		assert.Equal(t, excepted, excepts(exceptions, "[2001:db8::7]:8883"), "NO_PROXY=%s", exceptions)
	}
}

// The rules are the ones other programs on the same device go by.
func FuzzExceptions(f *testing.F) {
	for _, exceptions := range []string{"", "*", "example.com,.example.org:443", "*.example.com", "192.0.2.0/24,[2001:db8::7]:8883", "a:b:c", ".,*."} {
		f.Add(exceptions, "data.iot.example.com", uint16(8883))
		f.Add(exceptions, "192.0.2.7", uint16(443))
	}
	f.Fuzz(func(t *testing.T, exceptions, host string, port uint16) {
		host = strings.ToLower(host) // httpproxy has an eye for LOCALHOST
		address := net.JoinHostPort(host, strconv.Itoa(int(port)))
		target, err := url.Parse("https://" + address)
		if err != nil || target.Hostname() != host || !isASCII(exceptions+host) {
			t.Skip("not the host of an endpoint, or names that httpproxy writes in another way")
		}
		config := &httpproxy.Config{HTTPSProxy: "http://proxy.example", NoProxy: exceptions}
		proxy, err := config.ProxyFunc()(target)
		require.NoError(t, err)
		assert.Equal(t, proxy == nil, excepts(exceptions, address))
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}
