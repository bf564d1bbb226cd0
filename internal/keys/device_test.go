package keys_test

import (
	"context"
	"crypto"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/keys"
)

func request(crypto.Signer) ([]byte, error) { return []byte("a request"), nil }

// slow is a key that takes ten seconds to make.
func slow() (crypto.Signer, error) {
	<-time.After(10 * time.Second)
	return rsaOf(2048), nil
}

func TestADeviceKeyIsMadeInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		device := keys.Make(slow, request)
		assert.Zero(t, time.Since(began))
		assert.False(t, device.Ready())
		assert.False(t, device.Failed())
		require.NoError(t, device.Wait(t.Context()))
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.True(t, device.Ready())
		assert.False(t, device.Failed())
		assert.Equal(t, rsaOf(2048), device.Signer)
		assert.Equal(t, "a request", string(device.Request))
		require.NoError(t, device.Wait(t.Context()), "it may be waited for again")
	})
}

func TestADeviceKeyThatCannotBeMade(t *testing.T) {
	broken := errors.New("the TPM is locked")
	for name, test := range map[string]struct {
		key     func() (crypto.Signer, error)
		request func(crypto.Signer) ([]byte, error)
	}{
		"no key":     {func() (crypto.Signer, error) { return nil, broken }, func(crypto.Signer) ([]byte, error) { panic("there is no key") }},
		"no request": {keys.Generate, func(crypto.Signer) ([]byte, error) { return nil, broken }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				device := keys.Make(test.key, test.request)
				err := device.Wait(t.Context())
				var failure *keys.Error
				require.ErrorAs(t, err, &failure)
				assert.ErrorIs(t, err, broken)
				assert.EqualError(t, err, "the device's private key: the TPM is locked")
				assert.True(t, device.Failed())
				assert.False(t, device.Ready())
			})
		})
	}
}

// A key that is not made in time goes on being made, and may be there for the next
// attempt.
func TestWaitingForADeviceKeyEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the step is over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		began := time.Now()
		device := keys.Make(slow, request)
		err := device.Wait(ctx)
		var failure *keys.Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, cause, failure.Err)
		assert.Equal(t, time.Second, time.Since(began))
		assert.False(t, device.Failed(), "it is slow, not broken")
		require.NoError(t, device.Wait(t.Context()))
		assert.Equal(t, 10*time.Second, time.Since(began), "it was not begun again")
	})
}
