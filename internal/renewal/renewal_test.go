package renewal_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/renewal"
)

var (
	made = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	ends = made.Add(30 * 24 * time.Hour)
)

func certificate() *x509.Certificate { return &x509.Certificate{NotBefore: made, NotAfter: ends} }

func TestDue(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct{ before, earliest, latest time.Duration }{
		"a third of its lifetime":        {0, 10 * day, 10 * day * 2 / 3},
		"what is asked for":              {3 * day, 3 * day, 2 * day},
		"as long as the certificate is":  {30 * day, 10 * day, 10 * day * 2 / 3},
		"longer than the certificate is": {365 * day, 10 * day, 10 * day * 2 / 3},
	} {
		t.Run(name, func(t *testing.T) {
			var first, last time.Time
			for i := range 1000 {
				due := renewal.Due(certificate(), test.before, fmt.Sprintf("device-%04d", i))
				require.False(t, due.Before(ends.Add(-test.earliest)), "%v", due)
				require.False(t, due.After(ends.Add(-test.latest)), "%v", due)
				if first.IsZero() || due.Before(first) {
					first = due
				}
				if due.After(last) {
					last = due
				}
			}
			spread := test.earliest - test.latest
			assert.Greater(t, last.Sub(first), spread*98/100, "a thousand devices take all of the time there is")
		})
	}
	assert.Equal(t, renewal.Due(certificate(), 0, "a"), renewal.Due(certificate(), 0, "a"), "the same at each boot")
}

func TestNoHourHasManyOfAFleet(t *testing.T) {
	hours := map[time.Time]int{}
	for i := range 1000 {
		hours[renewal.Due(certificate(), 0, fmt.Sprintf("device-%04d", i)).Truncate(time.Hour)]++
	}
	for hour, devices := range hours {
		assert.Less(t, devices, 40, "%v", hour) // of 80 hours
	}
}

func TestWait(t *testing.T) {
	const long = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		failures int
		left     time.Duration
		want     time.Duration // and up to half more
	}{
		"the first":                        {1, long, time.Hour},
		"the third":                        {3, long, 4 * time.Hour},
		"the hundredth":                    {100, long, 24 * time.Hour},
		"with ten hours left":              {5, 10 * time.Hour, time.Hour},
		"with an hour left":                {5, time.Hour, 6 * time.Minute},
		"with a minute left":               {5, time.Minute, time.Minute},
		"with a certificate that is ended": {1, -time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, renewal.Wait(test.failures, test.left, 0))
			assert.Less(t, renewal.Wait(test.failures, test.left, 0.999), test.want*3/2)
		})
	}
}

func TestRequests(t *testing.T) {
	var requests renewal.Requests[string]
	wanted, waited := requests.Asked()
	assert.False(t, wanted || waited)

	require.True(t, requests.Serve())
	assert.False(t, requests.Serve(), "one serves")
	requests.Ask(nil)
	requests.Ask(nil)
	<-requests.Wake()
	select {
	case <-requests.Wake():
		t.Error("two requests wake twice")
	default:
	}

	first, second := make(chan renewal.Result[string], 1), make(chan renewal.Result[string], 1)
	requests.Ask(first)
	requests.Ask(second)
	assert.True(t, requests.Withdraw(second, false))
	failed := errors.New("AWS is down")
	requests.Answer(renewal.Result[string]{Err: failed})
	assert.ErrorIs(t, (<-first).Err, failed)
	assert.False(t, requests.Withdraw(first, false), "it is answered")
	wanted, waited = requests.Asked()
	assert.True(t, wanted, "a renewal that failed is wanted still")
	assert.False(t, waited)

	requests.Answer(renewal.Result[string]{Value: "renewed"})
	wanted, _ = requests.Asked()
	assert.False(t, wanted)

	requests.Ask(first)
	assert.True(t, requests.Withdraw(first, true))
	wanted, _ = requests.Asked()
	assert.True(t, wanted, "a request that stands is served")

	requests.Ask(second)
	requests.Leave(failed)
	assert.ErrorIs(t, (<-second).Err, failed)
	assert.True(t, requests.Serve(), "another may serve")
}
