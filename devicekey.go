package fleetprov

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

// deviceKey is a key that never leaves the device, and the request for its
// certificate. Both are made while the connection is being opened.
type deviceKey struct {
	made    chan struct{} // closed when the rest is there
	signer  crypto.Signer
	request []byte // with the certificate signing request
	err     error
}

// makeDeviceKey is called by the options that ask for it alone, so that other programs
// do not link what makes a certificate signing request.
func makeDeviceKey(signer func() (crypto.Signer, error), format exchange.Format) *deviceKey {
	k := &deviceKey{made: make(chan struct{})}
	go func() {
		defer close(k.made)
		if k.err = k.make(signer, format); k.err != nil {
			k.err = &keyError{k.err}
		}
	}()
	return k
}

func (k *deviceKey) make(signer func() (crypto.Signer, error), format exchange.Format) (err error) {
	if k.signer, err = signer(); err != nil {
		return err
	}
	csr, err := exchange.NewCSR(k.signer)
	if err != nil {
		return err
	}
	k.request, err = format.CSRRequest(csr)
	return err
}

// makeKey begins to make the device's own key, if it is to have one.
func (r *run) makeKey() {
	if r.deviceKey != nil && r.key == nil {
		r.key = r.deviceKey(r.format)
	}
}

// wait waits until the key is there, which hardware may take a while for.
func (k *deviceKey) wait(ctx context.Context) error {
	select {
	case <-k.made:
		return k.err
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	if timeout := new(timeoutError); errors.As(cause, &timeout) {
		cause = fmt.Errorf("it has not signed within %v: %w", timeout.after, os.ErrDeadlineExceeded)
	}
	return &keyError{cause}
}

// ready reports whether the key and its request are there, now.
func (k *deviceKey) ready() bool {
	select {
	case <-k.made:
		return k.err == nil
	default:
		return false
	}
}

// keyError is a key that could not be made or did not sign. The network has no
// part in it.
type keyError struct{ err error }

func (e *keyError) Error() string { return "the device's private key: " + e.err.Error() }
func (e *keyError) Unwrap() error { return e.err }

func generateKey() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// checkPrivateKey accepts what AWS IoT signs certificates for (AWS IoT API
// reference, CreateCertificateFromCsr).
func checkPrivateKey(key crypto.Signer) error {
	const accepted = "AWS IoT takes RSA of at least 2048 bits, P-256, P-384 and P-521"
	if isNil(key) {
		return errors.New("the private key is nil")
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < 2048 {
			return fmt.Errorf("the private key is RSA of %d bits: %s", bits, accepted)
		}
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return fmt.Errorf("the private key is on the curve %s: %s", public.Curve.Params().Name, accepted)
		}
	default:
		return fmt.Errorf("the private key's public half is a %T: %s", public, accepted)
	}
	return nil
}

// isNil sees through an interface: asking a nil pointer for its public half would
// panic.
func isNil(key crypto.Signer) bool {
	value := reflect.ValueOf(key)
	return key == nil || value.Kind() == reflect.Pointer && value.IsNil()
}
