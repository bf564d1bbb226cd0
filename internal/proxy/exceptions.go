package proxy

import (
	"net"
	"net/netip"
	"strings"
)

// excepts reports whether address, a host:port, is to be reached without a proxy.
//
// The rules are those of golang.org/x/net/http/httpproxy. That package is not used,
// since its tables for names outside ASCII, which no endpoint needs, cost flash.
func excepts(exceptions, address string) bool {
	host, port, err := net.SplitHostPort(strings.ToLower(address))
	if err != nil {
		return true
	}
	var ip net.IP // nil if host is a name
	if parsed, err := netip.ParseAddr(host); err == nil {
		ip = parsed.AsSlice()
	}
	if host == "localhost" || ip.IsLoopback() {
		return true
	}
	for exception := range strings.SplitSeq(strings.ToLower(exceptions), ",") {
		if matches(strings.TrimSpace(exception), host, port, ip) {
			return true
		}
	}
	return false
}

// matches reports whether an exception covers host. If host is an address, ip is that
// address; otherwise ip is nil.
func matches(exception, host, port string, ip net.IP) bool {
	if exception == "*" {
		return true
	}
	if _, network, err := net.ParseCIDR(exception); err == nil {
		return network.Contains(ip)
	}
	name, only, err := net.SplitHostPort(exception)
	if err != nil {
		name, only = exception, ""
	}
	if name == "" || only != "" && only != port {
		return false
	}
	if other := net.ParseIP(name); other != nil {
		return other.Equal(ip)
	}
	if ip != nil {
		return false
	}
	if strings.HasPrefix(name, "*.") {
		name = name[1:]
	}
	return host == name || strings.HasSuffix(host, "."+strings.TrimPrefix(name, "."))
}
