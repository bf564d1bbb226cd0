package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

var defaultPorts = map[string]string{
	"http":    "80",
	"https":   "443",
	"socks5":  "1080",
	"socks5h": "1080",
}

// maxSOCKS5Credential is how many bytes a user or a password may have (RFC 1929,
// section 2).
const maxSOCKS5Credential = 255

// Check returns an error that says why u is not the URL of a proxy, or nil. The scheme
// must be http, https, socks5 or socks5h; there must be a host, and no path, query or
// fragment; a port must be from 1 to 65535; and the scheme must be able to send the user
// and password.
func Check(u *url.URL) error {
	if u == nil {
		return errors.New("proxy URL is nil")
	}
	// If an unescaped "/", "?" or "#" in a password has split the URL in the wrong place,
	// any part of it may contain the password. So this check comes before all that print
	// a part of the URL.
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errors.New("proxy URL has a path, a query or a fragment; it is scheme://user:password@host:port, with special characters in user and password percent-encoded")
	}
	if defaultPorts[u.Scheme] == "" {
		return errors.New("proxy URL's scheme is not http, https, socks5 or socks5h")
	}
	if err := checkHost(u); err != nil {
		return err
	}
	return checkUser(u)
}

func checkHost(u *url.URL) error {
	host := u.Hostname()
	if host == "" {
		return errors.New("proxy URL has no host")
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":[]/?#@%\\ \t\r\n") {
		return fmt.Errorf("proxy URL's host %q is neither a name nor an address", host)
	}
	if port := u.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return fmt.Errorf("proxy URL's port %s is not between 1 and 65535", port)
		}
	}
	return nil
}

func checkUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	user := u.User.Username()
	password, _ := u.User.Password()
	switch u.Scheme {
	case "http", "https":
		if strings.Contains(user, ":") {
			return errors.New("proxy URL's user has a colon, which Basic authentication cannot send")
		}
	default:
		if user == "" || len(user) > maxSOCKS5Credential || len(password) > maxSOCKS5Credential {
			return fmt.Errorf("proxy URL's user is empty, or user or password is longer than the %d bytes SOCKS5 can send", maxSOCKS5Credential)
		}
	}
	return nil
}

// hostPort returns the proxy's address, without its user and password.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
