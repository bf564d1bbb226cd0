package controlplane

import (
	"net"
	"net/http"
	"strings"
)

// checkSender refuses what a web page could send. A browser adds Origin to a POST; it asks the
// server before it sends Authorization, and the answer is no; and a page whose host name was
// pointed at this machine (DNS rebinding) gives itself away by that name.
func checkSender(r *http.Request) *apiError {
	download := r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, codePath)
	switch {
	case !isLocal(r.Host):
		return &apiError{"AccessDeniedException", "The host " + r.Host + " is not this machine: use localhost or 127.0.0.1."}
	case r.Header.Get("Origin") != "":
		return &apiError{"AccessDeniedException", "Requests of web pages are refused."}
	case r.Header.Get("Authorization") == "" && !download:
		return &apiError{"MissingAuthenticationTokenException", "The request is not signed: any credentials will do."}
	}
	return nil
}

// isLocal reports whether the host of a request is this machine.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
