package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ErrBadAnswer means that whatever answered is not a proxy of the URL's scheme. Trying
// again does not help.
var ErrBadAnswer = errors.New("the answer is not that of a proxy")

// RefusedError is the answer of a proxy that refuses to open a tunnel.
type RefusedError struct {
	Address          string // host:port that the tunnel was for
	StatusCode       int    // of the answer to CONNECT; 0 if the proxy speaks SOCKS5
	Status           string // the proxy's words: the first 100 bytes of an HTTP reason phrase, quoted, or a SOCKS5 reply
	CredentialsGiven bool   // the proxy's URL has a user, with or without a password

	// Offered are the authentication schemes that an HTTP proxy asks for with status
	// 407, quoted: a few of them, and no longer than a name is. It is empty if the
	// proxy names none. Only Basic is ever sent.
	Offered []string
}

// maxStatus is how many bytes of a reason phrase are kept.
const maxStatus = 100

// Refusals that have no reply code in SOCKS5, in the words of x/net.
const (
	noMethod    = "no acceptable authentication methods"
	loginFailed = "username/password authentication failed"
)

// Error names the address, the proxy's answer, and what usually helps.
func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "refuses a tunnel to %s: ", e.Address)
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, "%d ", e.StatusCode)
	}
	b.WriteString(e.Status)
	offered := strings.Join(e.Offered, ", ")
	switch {
	case offered != "" && !slices.Contains(e.Offered, basic):
		fmt.Fprintf(&b, "; the proxy takes %s, and this library speaks Basic only: connect through a relay on the device that speaks what the proxy takes, such as cntlm, or have the endpoint exempted from authentication", offered)
	case offered != "" && e.CredentialsGiven:
		fmt.Fprintf(&b, " (with the user and password of the proxy URL, sent as Basic; the proxy takes %s)", offered)
	case offered != "":
		fmt.Fprintf(&b, " (the proxy URL has no user and password, which would be sent as Basic; the proxy takes %s)", offered)
	case e.authentication() && e.CredentialsGiven:
		b.WriteString(" (with the user and password of the proxy URL)")
	case e.authentication():
		b.WriteString(" (the proxy URL has no user and password)")
	case e.StatusCode == http.StatusForbidden && !strings.HasSuffix(e.Address, ":443"):
		b.WriteString(" (many proxies lead to port 443 only)")
	}
	return b.String()
}

func (e *RefusedError) authentication() bool {
	return e.StatusCode == http.StatusProxyAuthRequired || e.Status == noMethod || e.Status == loginFailed
}

// Retryable reports whether another attempt may succeed: the proxy was overloaded, or
// could not reach the address. A refusal of the user, of the address or of CONNECT
// itself is final.
func (e *RefusedError) Retryable() bool {
	switch e.StatusCode {
	case 0:
		switch e.Status {
		case noMethod, loginFailed, "connection not allowed by ruleset", "command not supported", "address type not supported":
			return false
		}
		return true
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	default:
		return e.StatusCode/100 == 5
	}
}
