package turn_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/turn"
)

func take(t *testing.T, shared *turn.Turn) *turn.Taken {
	t.Helper()
	taken, err := shared.Take(t.Context())
	require.NoError(t, err)
	return taken
}

// waits is how long a connection under clientID has to wait.
func waits(t *testing.T, taken *turn.Taken, clientID string) time.Duration {
	t.Helper()
	began := time.Now()
	require.NoError(t, taken.Wait(t.Context(), clientID))
	return time.Since(began)
}

func TestConnectionsUnderOneIDAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := turn.New("gateway-7")
		taken := take(t, shared)
		assert.Zero(t, waits(t, taken, "gateway-7"), "the first waits for nobody")
		assert.Equal(t, 10*time.Second, waits(t, taken, "gateway-7"))
		<-time.After(4 * time.Second)
		assert.Equal(t, 6*time.Second, waits(t, taken, "gateway-7"), "the time that has gone by counts")
		<-time.After(time.Hour)
		assert.Zero(t, waits(t, taken, "gateway-7"))
		taken.Give()

		taken = take(t, shared)
		assert.Equal(t, 10*time.Second, waits(t, taken, "gateway-7"), "the next run has to know")
	})
}

// A device that verifies its certificate connects under another id in between.
func TestConnectionsUnderAnotherIDDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := take(t, turn.New("gateway-7"))
		assert.Zero(t, waits(t, taken, "gateway-7"))
		<-time.After(time.Second)
		assert.Zero(t, waits(t, taken, "thing-1"))
		assert.Zero(t, waits(t, taken, "thing-1"))
		assert.Equal(t, 9*time.Second, waits(t, taken, "gateway-7"))
	})
}

func TestConnectionsMadeByAnotherWayCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := take(t, turn.New("gateway-7"))
		assert.Zero(t, waits(t, taken, "gateway-7"))
		<-time.After(8 * time.Second)
		taken.Connected()
		assert.Equal(t, 10*time.Second, waits(t, taken, "gateway-7"))
	})
}

func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := turn.New("gateway-7")
		first := take(t, shared)
		var second time.Duration
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			taken := take(t, shared)
			second = time.Since(began)
			taken.Give()
		}()
		<-time.After(time.Minute)
		first.Give()
		<-done
		assert.Equal(t, time.Minute, second)
	})
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := turn.New("gateway-7")
		first := take(t, shared)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		taken, err := shared.Take(ctx)
		assert.Nil(t, taken)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		first.Give()
		take(t, shared).Give()
	})
}

// A wait that was cut short has opened no connection.
func TestAWaitThatIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := take(t, turn.New("gateway-7"))
		assert.Zero(t, waits(t, taken, "gateway-7"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		assert.ErrorIs(t, taken.Wait(ctx, "gateway-7"), context.DeadlineExceeded)
		assert.Equal(t, 7*time.Second, waits(t, taken, "gateway-7"))
	})
}

// Connections that have an id each need no turn.
func TestNobodysTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared *turn.Turn
		for range 3 {
			taken := take(t, shared)
			assert.Zero(t, waits(t, taken, "fleetprov-1"))
			assert.Zero(t, waits(t, taken, ""))
			taken.Connected()
			assert.Zero(t, waits(t, taken, "fleetprov-1"))
		}
		take(t, shared).Give()
	})
}
