package proxy

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCONNECTSendsNoCredentialsOfAURLWithoutAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := served(func(conn net.Conn) {
			play(t, conn, []turn{{
				"CONNECT [2001:db8::7]:8883 HTTP/1.1\r\n" +
					"Host: [2001:db8::7]:8883\r\n" +
					"User-Agent: Go-http-client/1.1\r\n\r\n",
				"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
			}})
		})
		conn, err := Dial(t.Context(), dial, mustParse(t, "http://proxy.example"), "[2001:db8::7]:8883", nil)
		require.NoError(t, err)
		conn.Close()
	})
}

func TestCONNECTIsRefused(t *testing.T) {
	const given = "http://alice:s3cret@proxy.example:3128"
	tests := []struct {
		name, proxy, answer string
		want                RefusedError
		retryable           bool
		text                string
	}{
		{
			"for want of credentials", "http://proxy.example:3128",
			"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno",
			RefusedError{StatusCode: 407, Status: `"Proxy Authentication Required"`, Offered: []string{`"Basic"`}}, false,
			`proxy proxy.example:3128: refuses a tunnel to ` + endpoint + `: 407 "Proxy Authentication Required" (the proxy URL has no user and password, which would be sent as Basic; the proxy takes "Basic")`,
		},
		{
			"for wrong credentials, and names Basic among others", given,
			"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\nproxy-authenticate: basic realm=\"a, NTLM\", Digest nonce = \"x\", qop=auth\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"Proxy Authentication Required"`, CredentialsGiven: true, Offered: []string{`"NTLM"`, `"Basic"`, `"Digest"`}}, false,
			`(with the user and password of the proxy URL, sent as Basic; the proxy takes "NTLM", "Basic", "Digest")`,
		},
		{
			"for another scheme than Basic", given,
			"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM TlRMTVNTUAAC=\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"Proxy Authentication Required"`, CredentialsGiven: true, Offered: []string{`"Negotiate"`, `"NTLM"`}}, false,
			`407 "Proxy Authentication Required"; the proxy takes "Negotiate", "NTLM", and this library speaks Basic only: connect through a relay on the device that speaks what the proxy takes, such as cntlm, or have the endpoint exempted from authentication`,
		},
		{
			"for another scheme than Basic, and got nothing", "http://proxy.example:3128",
			"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm=\"Basic\"\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"Proxy Authentication Required"`, Offered: []string{`"Digest"`}}, false,
			"speaks Basic only",
		},
		{
			"for a scheme that echoes the password, and ones that nobody knows", given,
			"HTTP/1.1 407 No\r\nProxy-Authenticate: s3cret, \x9b31m, " + strings.Repeat("x", 99) + ", %61lice\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"No"`, CredentialsGiven: true, Offered: []string{`"\x9b31m"`, `"` + strings.Repeat("x", 20) + `"`}}, false, "",
		},
		{
			"for too many schemes", given,
			"HTTP/1.1 407 No\r\nProxy-Authenticate: a1,b2,c3,d4,e5,f6,g7,h8,i9,Basic\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"No"`, CredentialsGiven: true, Offered: []string{`"a1"`, `"b2"`, `"c3"`, `"d4"`, `"e5"`, `"f6"`, `"g7"`, `"h8"`, `"Basic"`}}, false, "",
		},
		{
			"by its rules, with schemes that say nothing there", given, "HTTP/1.1 403 Filtered\r\nProxy-Authenticate: NTLM\r\n\r\n",
			RefusedError{StatusCode: 403, Status: `"Filtered"`, CredentialsGiven: true}, false, "",
		},
		{
			"for wrong credentials", given, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"Proxy Authentication Required"`, CredentialsGiven: true}, false,
			"(with the user and password of the proxy URL)",
		},
		{
			"by its rules", given, "HTTP/1.1 403 Filtered\r\n\r\n",
			RefusedError{StatusCode: 403, Status: `"Filtered"`, CredentialsGiven: true}, false, `403 "Filtered"`,
		},
		{
			"as unreachable", given, "HTTP/1.1 502 Bad Gateway\r\n\r\n",
			RefusedError{StatusCode: 502, Status: `"Bad Gateway"`, CredentialsGiven: true}, true, `502 "Bad Gateway"`,
		},
		{
			"after waiting for the request", given, "HTTP/1.1 408 Request Timeout\r\n\r\n",
			RefusedError{StatusCode: 408, Status: `"Request Timeout"`, CredentialsGiven: true}, true, `408 "Request Timeout"`,
		},
		{
			"as one too many", given, "HTTP/1.1 429 Too Many Requests\r\n\r\n",
			RefusedError{StatusCode: 429, Status: `"Too Many Requests"`, CredentialsGiven: true}, true, `429 "Too Many Requests"`,
		},
		{
			"by one that knows no CONNECT", given, "HTTP/1.1 501 Not Implemented\r\n\r\n",
			RefusedError{StatusCode: 501, Status: `"Not Implemented"`, CredentialsGiven: true}, false, `501 "Not Implemented"`,
		},
		{
			"by one of another version", given, "HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n",
			RefusedError{StatusCode: 505, Status: `"HTTP Version Not Supported"`, CredentialsGiven: true}, false, "505",
		},
		{
			"with a status that echoes the password", given, "HTTP/1.1 403 no s3cret here\r\n\r\n",
			RefusedError{StatusCode: 403, Status: `"Forbidden"`, CredentialsGiven: true}, false, "",
		},
		{
			"with a status that echoes the credentials", given, "HTTP/1.1 407 Basic YWxpY2U6czNjcmV0\r\n\r\n",
			RefusedError{StatusCode: 407, Status: `"Proxy Authentication Required"`, CredentialsGiven: true}, false, "",
		},
		{
			"with a status that paints the terminal", given, "HTTP/1.1 503 \x1b[31mred\r\n\r\n",
			RefusedError{StatusCode: 503, Status: `"\x1b[31mred"`, CredentialsGiven: true}, true, "",
		},
		{
			"with a status without end", given, "HTTP/1.1 503 " + strings.Repeat("a", 4096) + "\r\n\r\n",
			RefusedError{StatusCode: 503, Status: `"` + strings.Repeat("a", 100) + `"`, CredentialsGiven: true}, true, "",
		},
		{
			"with a number alone", given, "HTTP/1.1 504\r\n\r\n",
			RefusedError{StatusCode: 504, Status: `""`, CredentialsGiven: true}, true, "504",
		},
		{
			"by a portal's redirection", given, "HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n",
			RefusedError{StatusCode: 302, Status: `"Found"`, CredentialsGiven: true}, false, "302",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := served(func(conn net.Conn) {
					go silent(conn)
					io.WriteString(conn, tt.answer)
				})
				conn, err := Dial(t.Context(), dial, mustParse(t, tt.proxy), endpoint, nil)
				assert.Nil(t, conn)
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				tt.want.Address = endpoint
				assert.Equal(t, tt.want, *refused)
				assert.Equal(t, tt.retryable, refused.Retryable())
				assert.ErrorContains(t, err, tt.text)
				assertNoCredentials(t, err)
			})
		})
	}
}

// A proxy may show the URL it was given, or a part of it, in any of the ways in which
// a URL or a form is written.
func TestStatusThatEchoesWhatIsPercentEncoded(t *testing.T) {
	const user, password = "al/ice", "pä s+w%@rd"
	whole := url.UserPassword(user, password)
	var everyByte string
	for _, b := range []byte(password) {
		everyByte += fmt.Sprintf("%%%02x", b)
	}
	for name, echo := range map[string]string{
		"a query's password":              url.QueryEscape(password),
		"a query's password, lower case":  strings.ToLower(url.QueryEscape(password)),
		"a path's password":               url.PathEscape(password),
		"a path's password, lower case":   strings.ToLower(url.PathEscape(password)),
		"a query's user":                  url.QueryEscape(user),
		"a query's user, lower case":      strings.ToLower(url.QueryEscape(user)),
		"the user information":            whole.String(),
		"the user information, lowercase": strings.ToLower(whole.String()),
		"all of it encoded":               everyByte,
		"the credentials of a header":     url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(user + ":" + password))),
		"plain":                           password,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := served(func(conn net.Conn) {
					go silent(conn)
					io.WriteString(conn, "HTTP/1.1 403 100% no% "+echo+"% here\r\n\r\n")
				})
				_, err := Dial(t.Context(), dial, &url.URL{Scheme: "http", Host: "proxy.example", User: whole}, endpoint, nil)
				require.ErrorContains(t, err, `403 "Forbidden"`)
				assert.NotContains(t, err.Error(), echo)
			})
		})
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add("Basic realm=\"x\", NTLM")
	f.Add(`Digest realm="a\", Basic", nonce=x,,Negotiate ===`)
	f.Add("\"")
	f.Fuzz(func(t *testing.T, field string) {
		names := offered(http.Header{"Proxy-Authenticate": {field}}, secrets{"s3cret"})
		assert.LessOrEqual(t, len(names), 8+5)
		for _, name := range names {
			plain, err := strconv.Unquote(name)
			require.NoError(t, err)
			assert.LessOrEqual(t, len(plain), 20)
			assert.NotContains(t, plain, "s3cret")
			assert.NotContains(t, plain, "=")
		}
	})
}

func TestCONNECTIsAnsweredByNoProxy(t *testing.T) {
	tests := []struct {
		name, answer string
		want         error
	}{
		{"with another protocol", "SSH-2.0-OpenSSH_9.2\r\n", ErrBadAnswer},
		{"with what was sent", connectTurns[0].expect, ErrBadAnswer},
		{"with a header that echoes the credentials", "HTTP/1.1 200 OK\r\nBasic YWxpY2U6czNjcmV0\r\n\r\n", ErrBadAnswer},
		{"with a status that is no number", "HTTP/1.1 s3cret\r\n\r\n", ErrBadAnswer},
		{"with a header that does not end", "HTTP/1.1 200 OK\r\nVia: " + strings.Repeat("a", 1<<20), ErrBadAnswer},
		{"with headers that do not end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("Via: a\r\n", 1<<17), ErrBadAnswer},
		{"with a first line that does not end", strings.Repeat("a", 1<<20), ErrBadAnswer},
		{"with nothing, and is closed", "", io.ErrUnexpectedEOF},
		{"with half an answer, and is closed", "HTTP/1.1 200 OK\r\nVia", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				written := make(chan int, 1)
				dial := served(func(conn net.Conn) {
					_, err := http.ReadRequest(bufio.NewReader(conn))
					assert.NoError(t, err)
					n, _ := io.WriteString(conn, tt.answer)
					written <- n
				})
				conn, err := Dial(t.Context(), dial, mustParse(t, "http://alice:s3cret@proxy.example"), endpoint, nil)
				assert.Nil(t, conn)
				assert.ErrorIs(t, err, tt.want)
				assert.Equal(t, tt.want == ErrBadAnswer, errors.Is(err, ErrBadAnswer))
				assert.ErrorContains(t, err, "proxy proxy.example:80: ")
				assertNoCredentials(t, err)
				assert.LessOrEqual(t, <-written, 64<<10)
			})
		})
	}
}

func TestCONNECTToAProxyThatHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := Dial(t.Context(), served(func(net.Conn) {}), mustParse(t, "http://proxy.example"), endpoint, nil)
		assert.Nil(t, conn)
		assert.ErrorIs(t, err, io.ErrClosedPipe)
	})
}
