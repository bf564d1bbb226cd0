package exchange

import (
	"context"
	"crypto"

	"github.com/fleetprov/fleetprov/internal/keys"
)

// Creation is a way to get a certificate. It belongs to one run, and serves all of its
// attempts.
type Creation interface {
	// Begin starts to prepare the request in the background. More calls do nothing.
	Begin()

	// Request returns the payload of the request, if it is ready.
	Request() (payload []byte, ready bool)

	// Create asks for a certificate on topic.
	Create(ctx context.Context, client *Client, topic string) (*Issued, error)
}

// AWSKey gets a certificate together with a key that AWS makes.
type AWSKey struct{}

// Begin implements [Creation]. There is nothing to prepare.
func (AWSKey) Begin() {}

// Request implements [Creation]. The request is empty.
func (AWSKey) Request() ([]byte, bool) { return nil, true }

// Create implements [Creation].
func (AWSKey) Create(ctx context.Context, client *Client, topic string) (*Issued, error) {
	return client.CreateKeysAndCertificate(ctx, topic)
}

// OwnKey gets a certificate for a key that does not leave the device.
type OwnKey struct {
	Key    func() (crypto.Signer, error) // makes or finds the key
	Format Format

	device *keys.Device // nil before Begin
}

// Begin implements [Creation].
func (k *OwnKey) Begin() {
	if k.device == nil {
		k.device = keys.Make(k.Key, k.newRequest)
	}
}

// newRequest makes the request for a certificate for key, unless the device could not
// connect with the certificate.
func (k *OwnKey) newRequest(key crypto.Signer) ([]byte, error) {
	if err := keys.TryPSS(key); err != nil {
		return nil, err
	}
	return k.Format.NewCSRRequest(key)
}

// Request implements [Creation].
func (k *OwnKey) Request() ([]byte, bool) {
	if !k.device.Ready() {
		return nil, false
	}
	return k.device.Request, true
}

// Create implements [Creation]. It waits for the key. If the key could not be made, the
// next call tries again; if it was slow, it may be ready by then.
func (k *OwnKey) Create(ctx context.Context, client *Client, topic string) (*Issued, error) {
	k.Begin()
	if err := k.device.Wait(ctx); err != nil {
		if k.device.Failed() {
			k.device = nil
		}
		return nil, err
	}
	issued, err := client.CreateCertificateFromCSR(ctx, topic, k.device.Request, k.device.Signer.Public())
	if err != nil {
		return nil, err
	}
	issued.Key = k.device.Signer
	return issued, nil
}
