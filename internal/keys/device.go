package keys

import (
	"context"
	"crypto"
)

// Device is a key that never leaves the device, together with the request for its
// certificate. Both are made in the background, while the connection is being
// opened. Signer and Request may be read once [Device.Wait] has returned nil or
// [Device.Ready] true; nobody writes them after that.
type Device struct {
	Signer  crypto.Signer
	Request []byte // the payload that asks for the certificate

	made chan struct{} // closed when all else is there
	err  error
}

// Make begins to make a key, and the request for its certificate. Only the options
// that ask for such a key call it, so that other programs do not link what makes a
// certificate signing request.
func Make(key func() (crypto.Signer, error), request func(crypto.Signer) ([]byte, error)) *Device {
	d := &Device{made: make(chan struct{})}
	go func() {
		defer close(d.made)
		if d.Signer, d.err = key(); d.err == nil {
			d.Request, d.err = request(d.Signer)
		}
	}()
	return d
}

// Wait waits until the key and its request are there, which may take a while in
// hardware. It fails with an [*Error], which is about ctx if that ends first.
func (d *Device) Wait(ctx context.Context) error {
	select {
	case <-d.made:
		if d.err != nil {
			return &Error{d.err}
		}
		return nil
	case <-ctx.Done():
		return &Error{context.Cause(ctx)}
	}
}

// Ready reports whether the key and its request are there now.
func (d *Device) Ready() bool { return d.isMade() && d.err == nil }

// Failed reports whether the key could not be made. Only a new [Make] can help then.
func (d *Device) Failed() bool { return d.isMade() && d.err != nil }

func (d *Device) isMade() bool {
	select {
	case <-d.made:
		return true
	default:
		return false
	}
}

// Error is a key that could not be made or did not sign. The network has no part
// in it.
type Error struct{ Err error }

func (e *Error) Error() string { return "the device's private key: " + e.Err.Error() }

// Unwrap returns what the key said, or why it was waited for no longer.
func (e *Error) Unwrap() error { return e.Err }

// TokenError is what a keyring said that did not do what it was asked. It may pass.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return e.Err.Error() }

// Unwrap returns what the keyring said.
func (e *TokenError) Unwrap() error { return e.Err }
