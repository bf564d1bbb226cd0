package flow_test

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// standardLog returns what goes to the standard logger until the test ends.
func standardLog(t *testing.T) *lockedBuffer {
	t.Helper()
	output := new(lockedBuffer)
	writer, flags := log.Writer(), log.Flags()
	t.Cleanup(func() {
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	log.SetOutput(output)
	log.SetFlags(0)
	return output
}

// structured is a logger whose text is kept.
func structured() (fleetprov.Option, *lockedBuffer) {
	output := new(lockedBuffer)
	return fleetprov.WithLogger(slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: slog.LevelDebug}))), output
}

// provisionForAWhile provisions against a template that does not exist.
func provisionForAWhile(t *testing.T, opts ...fleetprov.Option) {
	t.Helper()
	server, listener := provtest.NewPipeServer(t)
	provisioner, err := fleetprov.New(server.Endpoint(), "wrong-template", provtest.Claim(t, server), append(opts, fleetprov.WithDialer(listener.Dial))...)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 95*time.Second)
	defer cancel()
	_, err = provisioner.Provision(ctx, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Greater(t, count(server, fleetprovtest.OpConnect), 2)
}

// A program that sets no logger is told what fails, why, and that it goes on.
func TestAFailureThatIsTriedAgainIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := standardLog(t)
		provisionForAWhile(t)
		lines := strings.Split(strings.TrimSuffix(output.String(), "\n"), "\n")
		require.Greater(t, len(lines), 2)
		for _, line := range lines {
			assert.True(t, strings.HasPrefix(line, "fleetprov: Subscribe: connection lost"), line)
			assert.Contains(t, line, "that the template has this name")
			assert.Regexp(t, `; trying again in [0-9.]+m?s$`, line)
		}
	})
}

func TestWithoutALoggerThereIsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := standardLog(t)
		provisionForAWhile(t, fleetprov.WithLogger(nil))
		assert.Empty(t, output.String())
	})
}

// The default logger of log/slog is looked up when there is something to say.
func TestTheDefaultLoggerMayBeSetLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		standardLog(t)
		before := slog.Default()
		t.Cleanup(func() { slog.SetDefault(before) })
		output := new(lockedBuffer)
		server, provisioner := provtest.OnPipes(t)
		slog.SetDefault(slog.New(slog.NewJSONHandler(output, nil)))
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Disconnect: true})
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.Contains(t, output.String(), `"msg":"fleetprov: Connect: connection lost`)
		assert.Equal(t, 1, strings.Count(output.String(), "\n"))
	})
}

// A run that goes well has nothing to tell, and a failure that is returned is not told
// twice.
func TestTheDefaultLogIsNotTalkative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := standardLog(t)
		server, provisioner := provtest.OnPipes(t, fleetprov.WithVerification())
		store := provtest.NewLockedStore()
		_, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		_, err = provisioner.Renew(t.Context(), store, nil)
		require.NoError(t, err)
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 403}})
		_, err = provisioner.Renew(t.Context(), store, nil)
		require.Error(t, err)
		assert.Empty(t, output.String())
	})
}

// acceptedAs is an answer to RegisterThing. The server has done nothing then.
func acceptedAs(answer string) fleetprovtest.Fault {
	return fleetprovtest.Fault{Response: []byte(answer)}
}

func TestWarningsOfThingNames(t *testing.T) {
	for name, test := range map[string]struct{ answer, warning string }{
		"none":                    {`{}`, "the template has no AWS::IoT::Thing"},
		"an empty one":            {`{"thingName":""}`, "the template has no AWS::IoT::Thing"},
		"white space":             {`{"thingName":"pump 7"}`, `the thing name is not 1 to 128 letters, digits, colons, underscores and hyphens, as AWS IoT has them: change what the template makes of the parameters (thingName "pump 7")`},
		"control characters":      {`{"thingName":"pump\n7\u001b[2J"}`, `(thingName "pump\n7\x1b[2J")`},
		"129 characters":          {`{"thingName":"` + strings.Repeat("x", 129) + `"}`, "the thing name is not 1 to 128"},
		"128 characters":          {`{"thingName":"` + strings.Repeat("x", 128) + `"}`, ""},
		"all that AWS IoT allows": {`{"thingName":"Pump:7_a-b"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				output := standardLog(t)
				server, provisioner := provtest.OnPipes(t)
				server.Inject(fleetprovtest.OpRegisterThing, acceptedAs(test.answer))
				_, err := provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				if test.warning == "" {
					assert.Empty(t, output.String())
					return
				}
				assert.Contains(t, output.String(), test.warning)
				assert.Equal(t, 1, strings.Count(output.String(), "\n"), "once, in one line: %s", output)

				structuredly, words := structured()
				provisioner = provtest.NewProvisioner(t, server, dialPipes(server), structuredly)
				server.Inject(fleetprovtest.OpRegisterThing, acceptedAs(test.answer))
				_, err = provisioner.Provision(t.Context(), nil)
				require.NoError(t, err)
				assert.Equal(t, 1, strings.Count(words.String(), "level=WARN"))
			})
		})
	}
}

// A store that was filled elsewhere is of no use here, and both places are named.
func TestAStoreThatWasFilledAtAnotherEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := standardLog(t)
		server, provisioner := provtest.OnPipes(t)
		store := provtest.NewMemStore()
		first, err := provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		require.Empty(t, output.String())

		other, err := fleetprov.New("other.example.com", provtest.Template, provtest.Claim(t, server), noDial(t))
		require.NoError(t, err)
		again, err := other.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Equal(t, first, again)
		assert.Contains(t, output.String(), `the store was filled at the endpoint "localhost:`)
		assert.Contains(t, output.String(), `and this is "other.example.com:8883": give each endpoint a store of its own`)
		assert.Equal(t, 1, strings.Count(output.String(), "\n"))

		// Also when it is read twice, since there is something to do.
		expired, err := fleetprov.ParseCredentials(expiring(t, time.Now()))
		require.NoError(t, err)
		expired.Endpoint = "old.example.com:8883"
		store.Files["credentials.pem"], err = expired.MarshalPEM()
		require.NoError(t, err)
		<-time.After(time.Second)
		output = standardLog(t)
		_, err = provisioner.Ensure(t.Context(), store, nil)
		require.NoError(t, err)
		assert.Contains(t, output.String(), `the store was filled at the endpoint "old.example.com:8883"`)
		assert.Equal(t, 1, strings.Count(output.String(), "\n"))

		// Also by a renewal.
		output = standardLog(t)
		elsewhere, err := fleetprov.New("other.example.com", provtest.Template, provtest.Claim(t, server), dialPipes(server), fleetprov.WithRootCAs(server.RootCAs()), provtest.OneAttempt)
		require.NoError(t, err)
		_, err = elsewhere.Renew(t.Context(), store, nil)
		require.Error(t, err, "the server has another name")
		assert.Equal(t, 1, strings.Count(output.String(), `the store was filled at the endpoint "localhost:`), output)
		assert.Contains(t, output.String(), `and this is "other.example.com:8883"`)
	})
}
