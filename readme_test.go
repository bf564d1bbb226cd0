package fleetprov_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// TestRefusedDevice is the test that the README shows.
func TestRefusedDevice(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	require.NoError(t, err)
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	require.NoError(t, err)

	_, err = provisioner.Provision(t.Context(), nil)
	var rejected *fleetprov.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, 403, rejected.StatusCode)
	assert.Empty(t, server.Things())
}

// renewDevice is how the README renews a device that has erased its claim.
func renewDevice(ctx context.Context, store fleetprov.Store, credentials *fleetprov.Credentials, options ...fleetprov.Option) (*fleetprov.Credentials, error) {
	identity, err := credentials.Identity()
	if err != nil {
		return nil, err
	}
	renewer, err := fleetprov.New(credentials.Endpoint, "fleet-rotation-template", identity, options...)
	if err != nil {
		return nil, err
	}
	return renewer.Renew(ctx, store, map[string]string{"ThingName": credentials.ThingName})
}

func TestRenewedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, dial := newRotationServer(t)
		provisioner, err := fleetprov.New(server.Endpoint(), server.Template, claimOf(t, server), dial)
		require.NoError(t, err)
		store := newMemStore()
		first, err := provisioner.Ensure(t.Context(), store, map[string]string{"SerialNumber": "12345"})
		require.NoError(t, err)

		renewed, err := renewDevice(t.Context(), store, first, dial)
		require.NoError(t, err)
		assert.Equal(t, first.CertificateID, renewed.PreviousCertificateID)
		things := server.Things()
		require.Len(t, things, 1)
		assert.Equal(t, []string{first.CertificateID, renewed.CertificateID}, things[0].CertificateIDs)
	})
}

// newRotationServer starts an endpoint inside a bubble that has the template to
// renew against, and returns what dials it.
func newRotationServer(t *testing.T) (*fleetprovtest.Server, fleetprov.Option) {
	t.Helper()
	server := fleetprovtest.NewUnstartedServer()
	server.Template = "fleet-rotation-template"
	server.Listener.Close()
	listener := newPipeListener()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server, fleetprov.WithDialer(listener.Dial)
}

func TestReadmeShowsCodeThatRuns(t *testing.T) {
	var sources string
	for _, file := range []string{"example_test.go", "example_ensure_test.go", "readme_test.go"} {
		sources += indentless(read(t, file))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.Contains(t, sources, indentless(block[1]))
	}
}

// indentless is text without indentation, which differs between a README and a
// function's body.
func indentless(text string) string {
	return regexp.MustCompile(`(?m)^[\t ]+`).ReplaceAllString(text, "")
}

func TestReadmeLinksToFilesThatExist(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		if !strings.Contains(link[1], "://") {
			assert.FileExists(t, link[1])
		}
	}
}

// The package's documentation is where a reader of the README goes next: a name
// that it does not have is a name the README must not use.
func TestReadmeNamesExist(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var sources string
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			sources += read(t, file)
		}
	}
	names := regexp.MustCompile("`\\*?([A-Z]\\w+)[`(]").FindAllStringSubmatch(read(t, "README.md"), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		if name[1] == strings.ToUpper(name[1]) {
			continue // a variable of the environment
		}
		declared := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |\t?)` + name[1] + `\b`)
		assert.True(t, declared.MatchString(sources), name[1])
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}
