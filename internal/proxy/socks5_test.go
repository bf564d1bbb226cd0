package proxy

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSOCKS5OffersNoCredentialsOfAURLWithoutAny(t *testing.T) {
	tests := []struct {
		name, address, target string
	}{
		{"to a name", "endpoint.example:8883", "\x03\x10endpoint.example\x22\xb3"},
		{"to an IPv4 address", "192.0.2.7:8883", "\x01\xc0\x00\x02\x07\x22\xb3"},
		{"to an IPv6 address", "[2001:db8::7]:8883", "\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x22\xb3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := served(func(conn net.Conn) {
					play(t, conn, []turn{
						{"\x05\x01\x00", "\x05\x00"},
						{"\x05\x01\x00" + tt.target, "\x05\x00\x00\x03\x05proxy\x04\x38"},
					})
				})
				conn, err := Dial(t.Context(), dial, mustParse(t, "socks5://proxy.example"), tt.address, nil)
				require.NoError(t, err)
				conn.Close()
			})
		})
	}
}

func TestSOCKS5IsRefused(t *testing.T) {
	const given = "socks5://alice:s3cret@proxy.example"
	reply := func(code string) string { return "\x05\x00\x05" + code + "\x00\x01\x00\x00\x00\x00\x00\x00" }
	tests := []struct {
		name, proxy, answer string
		status              string
		retryable           bool
		text                string
	}{
		{
			"for want of credentials", "socks5://proxy.example", "\x05\xff", "no acceptable authentication methods", false,
			"proxy proxy.example:1080: refuses a tunnel to " + endpoint + ": no acceptable authentication methods (the proxy URL has no user and password)",
		},
		{
			"for another kind of credentials", given, "\x05\xff", "no acceptable authentication methods", false,
			"(with the user and password of the proxy URL)",
		},
		{
			"for wrong credentials", given, "\x05\x02\x01\x01", "username/password authentication failed", false,
			"(with the user and password of the proxy URL)",
		},
		{"by a general failure", given, reply("\x01"), "general SOCKS server failure", true, ""},
		{"by its rules", given, reply("\x02"), "connection not allowed by ruleset", false, ""},
		{"as network unreachable", given, reply("\x03"), "network unreachable", true, ""},
		{"as host unreachable", given, reply("\x04"), "host unreachable", true, ""},
		{"as connection refused", given, reply("\x05"), "connection refused", true, ""},
		{"as expired on the way", given, reply("\x06"), "TTL expired", true, ""},
		{"as a command it does not know", given, reply("\x07"), "command not supported", false, ""},
		{"as an address it does not know", given, reply("\x08"), "address type not supported", false, ""},
		{"by a code of its own", given, reply("\x63"), "unknown code: 99", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := served(func(conn net.Conn) {
					go silent(conn)
					io.WriteString(conn, tt.answer)
				})
				u := mustParse(t, tt.proxy)
				conn, err := Dial(t.Context(), dial, u, endpoint, nil)
				assert.Nil(t, conn)
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				assert.Equal(t, RefusedError{Address: endpoint, Status: tt.status, CredentialsGiven: u.User != nil}, *refused)
				assert.Equal(t, tt.retryable, refused.Retryable())
				assert.ErrorContains(t, err, tt.text)
				assertNoCredentials(t, err)
			})
		})
	}
}

func TestSOCKS5IsAnsweredByNoProxy(t *testing.T) {
	tests := []struct {
		name, answer string
		want         error
	}{
		{"with HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", ErrBadAnswer},
		{"with SOCKS4", "\x00\x5a", ErrBadAnswer},
		{"with a method that was not offered", "\x05\x01", ErrBadAnswer},
		{"with a reply of another version", "\x05\x00\x04\x00\x00\x01", ErrBadAnswer},
		{"with an address of no kind", "\x05\x00\x05\x00\x00\x02", ErrBadAnswer},
		{"with nothing, and is closed", "", io.ErrUnexpectedEOF},
		{"with half a method, and is closed", "\x05", io.ErrUnexpectedEOF},
		{"with half a reply, and is closed", "\x05\x00\x05\x00\x00\x01\x7f", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := served(func(conn net.Conn) {
					go silent(conn)
					io.WriteString(conn, tt.answer)
				})
				conn, err := Dial(t.Context(), dial, mustParse(t, "socks5://alice:s3cret@proxy.example"), endpoint, nil)
				assert.Nil(t, conn)
				assert.ErrorIs(t, err, tt.want)
				assert.Equal(t, tt.want == ErrBadAnswer, errors.Is(err, ErrBadAnswer))
				assert.ErrorContains(t, err, "proxy proxy.example:1080: ")
				assertNoCredentials(t, err)
			})
		})
	}
}
