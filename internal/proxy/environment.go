package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"os"
)

// ErrEnvironment means that a variable of the environment is not the URL of a proxy.
// Another attempt finds the same one.
var ErrEnvironment = errors.New("not the URL of a proxy")

// FromEnvironment returns the proxy that the environment names for address, a
// host:port, or nil if it is to be reached directly.
//
// The proxy is the value of HTTPS_PROXY, else of ALL_PROXY: a URL, or a host:port,
// which means an http proxy. NO_PROXY lists the exceptions to both, separated by
// commas: a domain, which excepts what is below it, too, unless it begins with a dot
// or "*."; an IP address; a network as 192.0.2.0/24; or "*" for everything. A domain
// or an address may have a port behind it. A name outside of ASCII is not converted. Localhost and loopback addresses are always
// excepted. A name in lower case goes before the same name in upper case. The
// environment is read at each call.
//
// A value that is no URL, or one that [Check] refuses, is [ErrEnvironment]. The error
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
