package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connectProxy is an HTTP proxy that counts the tunnels it has opened for user.
func connectProxy(t *testing.T, user *url.Userinfo) (proxy *url.URL, tunnels *atomic.Int32) {
	t.Helper()
	tunnels = new(atomic.Int32)
	var open sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		name, secret, _ := asked.BasicAuth()
		if r.Method != http.MethodConnect || url.UserPassword(name, secret).String() != user.String() {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		upstream, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer upstream.Close()
		w.WriteHeader(http.StatusOK)
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		tunnels.Add(1)
		open.Go(func() {
			io.Copy(upstream, buffered)
			upstream.Close()
		})
		io.Copy(client, upstream)
	}))
	t.Cleanup(func() {
		server.Close()
		open.Wait()
	})
	proxy, err := url.Parse(server.URL)
	require.NoError(t, err)
	proxy.User = user
	return proxy, tunnels
}

func TestProxy(t *testing.T) {
	emptyTemp(t)
	proxy, tunnels := connectProxy(t, url.UserPassword("user", "pr0xy-secret"))
	r := runExample(t.Context(), nil, "-v", "-proxy", proxy.String())
	require.Equal(t, 0, r.status, r.stderr)
	assert.Equal(t, int32(2), tunnels.Load(), "one for the claim, one for the device")
	assert.NotContains(t, r.stdout+r.stderr, "pr0xy-secret")
}

func TestProxyThatRefuses(t *testing.T) {
	emptyTemp(t)
	proxy, _ := connectProxy(t, url.UserPassword("user", "pr0xy-secret"))
	proxy.User = url.UserPassword("user", "wr0ng-secret")
	r := runExample(t.Context(), nil, "-proxy", proxy.String())
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stderr, "407")
	assert.NotContains(t, r.stdout+r.stderr, "wr0ng-secret")
}
