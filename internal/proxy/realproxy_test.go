package proxy

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThroughTinyproxy(t *testing.T) {
	path := lookPath(t, "tinyproxy")
	start := func(t *testing.T, directives ...string) string {
		address := freeAddress(t)
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		config := filepath.Join(t.TempDir(), "tinyproxy.conf")
		directives = append([]string{
			"Listen " + host,
			"Port " + port,
			"Timeout 60",
			"MaxClients 10",
			"Allow 127.0.0.1",
		}, directives...)
		require.NoError(t, os.WriteFile(config, []byte(strings.Join(directives, "\n")+"\n"), 0o600))
		startProxy(t, address, exec.Command(path, "-d", "-c", config))
		return address
	}

	t.Run("without credentials", func(t *testing.T) {
		assertTunnel(t, "http://"+start(t))
	})
	t.Run("with credentials", func(t *testing.T) {
		proxy := start(t, "BasicAuth alice s3cret")
		assertTunnel(t, "http://alice:s3cret@"+proxy)

		refused := assertRefused(t, "http://"+proxy, "127.0.0.1:443")
		assert.Equal(t, 407, refused.StatusCode)
		assert.False(t, refused.CredentialsGiven)
		assert.False(t, refused.Retryable())
	})
	t.Run("that allows port 443 only", func(t *testing.T) {
		proxy := start(t, "ConnectPort 443")
		refused := assertRefused(t, "http://"+proxy, "127.0.0.1:8883")
		assert.Equal(t, 403, refused.StatusCode)
		assert.False(t, refused.Retryable())
		assert.ErrorContains(t, refused, "port 443 only")
	})
	t.Run("that finds nobody listening", func(t *testing.T) {
		refused := assertRefused(t, "http://"+start(t), freeAddress(t))
		assert.Equal(t, 5, refused.StatusCode/100)
		assert.True(t, refused.Retryable())
	})
}

func TestThroughMicrosocks(t *testing.T) {
	path := lookPath(t, "microsocks")
	start := func(t *testing.T, arguments ...string) string {
		address := freeAddress(t)
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		startProxy(t, address, exec.Command(path, append([]string{"-i", host, "-p", port}, arguments...)...))
		return address
	}

	t.Run("without credentials", func(t *testing.T) {
		assertTunnel(t, "socks5://"+start(t))
	})
	t.Run("with credentials", func(t *testing.T) {
		proxy := start(t, "-u", "alice", "-P", "s3cret")
		assertTunnel(t, "socks5h://alice:s3cret@"+proxy)

		refused := assertRefused(t, "socks5://"+proxy, "127.0.0.1:443")
		assert.False(t, refused.CredentialsGiven)
		assert.False(t, refused.Retryable())

		refused = assertRefused(t, "socks5://alice:wrong@"+proxy, "127.0.0.1:443")
		assert.True(t, refused.CredentialsGiven)
		assert.False(t, refused.Retryable())
	})
	t.Run("that finds nobody listening", func(t *testing.T) {
		refused := assertRefused(t, "socks5://"+start(t), freeAddress(t))
		assert.True(t, refused.Retryable())
	})
}

func lookPath(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}

// freeAddress returns a loopback address at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// startProxy runs command until the test ends, and returns when it listens at address.
func startProxy(t *testing.T, address string, command *exec.Cmd) {
	t.Helper()
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		assert.NoError(t, command.Process.Kill())
		command.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, 10*time.Second, 10*time.Millisecond, "%s does not listen", command.Path)
}

func assertTunnel(t *testing.T, proxy string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()
	conn, err := Dial(t.Context(), new(net.Dialer).DialContext, mustParse(t, proxy), listener.Addr().String(), nil)
	require.NoError(t, err)
	defer conn.Close()
	assertEchoes(t, conn)
}

func assertRefused(t *testing.T, proxy, address string) *RefusedError {
	t.Helper()
	u := mustParse(t, proxy)
	conn, err := Dial(t.Context(), new(net.Dialer).DialContext, u, address, nil)
	assert.Nil(t, conn)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	assert.ErrorContains(t, err, fmt.Sprintf("proxy %s: refuses a tunnel to %s", u.Host, address))
	assertNoCredentials(t, err)
	return refused
}
