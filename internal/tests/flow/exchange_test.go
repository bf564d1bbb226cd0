package flow_test

import (
	"context"
	"crypto/tls"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestBothTLSVersions(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server := fleetprovtest.NewUnstartedServer()
			server.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
			server.Start()
			defer server.Close()
			_, err := provtest.NewProvisioner(t, server).Provision(provtest.Context(t), nil)
			assert.NoError(t, err)
		})
	}
}

// What AWS may do to a message changes nothing: it may come twice, late, or
// before the acknowledgement of its subscription (AWS developer guide, "mqtt").
func TestMessagesThatChangeNothing(t *testing.T) {
	const accepted = "$aws/certificates/create/json/accepted"
	publish := func(topic, payload string) []byte {
		body := append([]byte{0, byte(len(topic))}, topic...)
		body = append(append(body, 0, 99), payload...)
		return append([]byte{0x32, byte(len(body))}, body...)
	}
	suback := []byte{0x90, 6, 0, 1, 1, 1, 1, 1}
	for name, test := range map[string]struct {
		op    fleetprovtest.Op
		fault fleetprovtest.Fault
	}{
		"Create answered twice":         {fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Duplicate: true}},
		"Register answered twice":       {fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Duplicate: true}},
		"SUBACK twice":                  {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Delay: time.Second}},
		"an answer before any question": {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Response: append(publish(accepted, "{}"), suback...)}},
		"an unknown topic":              {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Response: append(publish("some/topic", "{}"), suback...)}},
		"a PUBACK for nothing":          {fleetprovtest.OpSubscribe, fleetprovtest.Fault{Response: append([]byte{0x40, 2, 0, 77}, suback...)}},
		"slow answers":                  {fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Delay: 20 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t)
				server.Inject(test.op, test.fault)
				credentials, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": "1"})
				require.NoError(t, err)
				assert.Equal(t, "1", credentials.ThingName)
				assert.Len(t, server.Certificates(), 1)
				assert.Len(t, server.Things(), 1)
			})
		})
	}
}

// One Provisioner serves a factory station that provisions many devices at once.
func TestConcurrentRuns(t *testing.T) {
	for name, test := range map[string]struct {
		options []fleetprov.Option
		takes   time.Duration
	}{
		"each under its own client id": {nil, 0},
		// AWS IoT ends a connection when another comes under its client id, and
		// takes one in ten seconds.
		"queued under one client id": {[]fleetprov.Option{fleetprov.WithClientID("station-1")}, 110 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, provisioner := provtest.OnPipes(t, append(test.options, fleetprov.WithGeneratedKey())...)
				began := time.Now()
				var runs sync.WaitGroup
				for i := range 12 {
					runs.Go(func() {
						_, err := provisioner.Provision(t.Context(), map[string]string{"SerialNumber": string(rune('A' + i))})
						assert.NoError(t, err)
					})
				}
				runs.Wait()
				assert.Len(t, server.Things(), 12)
				assert.Equal(t, test.takes, time.Since(began))
			})
		})
	}
}

func TestWaitingForAClientIDEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, fleetprov.WithClientID("station-1"))
		server.Inject(fleetprovtest.OpConnect, fleetprovtest.Fault{Delay: 20 * time.Second})
		first := make(chan error)
		go func() {
			_, err := provisioner.Provision(t.Context(), nil)
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := provisioner.Provision(ctx, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NoError(t, <-first)
	})
}

// A step may be longer than MQTT's keep-alive of a minute.
func TestAnAnswerThatComesAfterTheKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, provisioner := provtest.OnPipes(t, provtest.OneAttempt, fleetprov.WithStepTimeout(10*time.Minute))
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Delay: 5 * time.Minute})
		began := time.Now()
		_, err := provisioner.Provision(t.Context(), nil)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(began), 5*time.Minute)
		assert.Equal(t, 1, count(server, fleetprovtest.OpConnect))
	})
}
