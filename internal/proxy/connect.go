package proxy

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxHeader is how many bytes an answer to CONNECT may have.
const maxHeader = 64 << 10

// openCONNECT turns conn into a tunnel to address with HTTP's CONNECT (RFC 9110, section
// 9.3.6). It reads nothing after the header of the answer: that comes from address.
func openCONNECT(conn net.Conn, u *url.URL, address string) error {
	credentials := basicCredentials(u)
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Host: address},
		Host:   address,
		Header: http.Header{},
	}
	if credentials != "" {
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	watched := &watchedConn{Conn: conn}
	if err := request.Write(watched); err != nil {
		return fmt.Errorf("sending CONNECT: %w", err)
	}
	header := &headerReader{conn: watched, left: maxHeader}
	response, err := http.ReadResponse(bufio.NewReader(header), request)
	switch {
	case err == nil:
	case watched.err != nil:
		return fmt.Errorf("waiting for the answer to CONNECT: %w", watched.err)
	case errors.Is(err, errHeaderTooLong):
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	default:
		// The parser's error quotes what it cannot read, and a proxy may send back the
		// credentials that it was sent.
		return fmt.Errorf("%w: not HTTP", ErrBadAnswer)
	}
	// response.Body stays open: closing it would read from the tunnel.
	if response.StatusCode/100 == 2 {
		return nil
	}
	hidden := secretsOf(u, credentials)
	refused := &RefusedError{
		Address:          address,
		StatusCode:       response.StatusCode,
		Status:           reason(response, hidden),
		CredentialsGiven: credentials != "",
	}
	if response.StatusCode == http.StatusProxyAuthRequired {
		refused.Offered = offered(response.Header, hidden)
	}
	return refused
}

// basicCredentials returns user and password as RFC 7617 encodes them, or "" if u has
// neither.
func basicCredentials(u *url.URL) string {
	if u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
}

// reason returns the reason phrase of response in the form of [RefusedError.Status],
// without the proxy's user and password.
func reason(response *http.Response, hidden secrets) string {
	phrase := strings.TrimSpace(strings.TrimPrefix(response.Status, strconv.Itoa(response.StatusCode)))
	if hidden.in(phrase) {
		phrase = http.StatusText(response.StatusCode)
	}
	return strconv.Quote(phrase[:min(len(phrase), maxStatus)])
}

var errHeaderTooLong = fmt.Errorf("header longer than %d KiB", maxHeader>>10)

// headerReader reads one byte at a time, so that a [bufio.Reader] on top of it reads
// nothing after the header. It reads at most left bytes.
type headerReader struct {
	conn net.Conn
	left int
}

func (r *headerReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errHeaderTooLong
	}
	r.left--
	return r.conn.Read(p[:1])
}
