package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"os"
)

// ErrEnvironment means that an environment variable is not the URL of a proxy. Trying
// again does not help.
var ErrEnvironment = errors.New("not the URL of a proxy")

// FromEnvironment returns the proxy that the environment names for address, a
// host:port, or nil if address is to be reached directly.
//
// The proxy is the value of HTTPS_PROXY, or else of ALL_PROXY: a URL, or a host:port,
// which means an http proxy. NO_PROXY lists exceptions to both, separated by commas: a
// domain, which includes the names below it; an IP address; a network such as
// 192.0.2.0/24; or "*" for everything. A domain that begins with a dot or "*." means only
// the names below it. A domain or an address may be followed by a port. Names outside
// ASCII are not converted. Localhost and loopback addresses are always excepted. The
// lower-case name of a variable takes precedence over the upper-case name. The
// environment is read at each call.
//
// If the value is not a URL that [Check] accepts, the error wraps [ErrEnvironment]. It
// names the variable, never its value.
func FromEnvironment(address string) (*url.URL, error) {
	name, value := firstSet("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
	if value == "" {
		return nil, nil
	}
	if _, exceptions := firstSet("no_proxy", "NO_PROXY"); excepts(exceptions, address) {
		return nil, nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		u, err = url.Parse("http://" + value)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, ErrEnvironment)
	}
	if err := Check(u); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrEnvironment, err)
	}
	return u, nil
}

// firstSet returns the first of the variables that is not empty.
func firstSet(names ...string) (name, value string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}
