package fleetprov

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"github.com/fleetprov/fleetprov/internal/bounded"
	"github.com/fleetprov/fleetprov/internal/credfile"
	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/keys"
)

// Keyring makes and finds private keys in hardware: a TPM, a secure element or a
// PKCS #11 token. A renewal makes its key beside the one in use, so that there are two
// labels, fleetprov-1 and fleetprov-2, which take turns; the journal and the
// credentials' file say which key is whose. [WithKeyring] sets one.
type Keyring interface {
	// Generate makes a key under label, in place of any that is there. When it fails,
	// or the power does, label has the old key, the new one or none, but never two. The
	// key must be RSA of at least 2048 bits, P-256, P-384 or P-521.
	Generate(ctx context.Context, label string) (crypto.Signer, error)

	// Key returns the key under label. Its error wraps [fs.ErrNotExist] if there is
	// none, and only then: another error is taken to pass, and the call is made again.
	Key(ctx context.Context, label string) (crypto.Signer, error)
}

// The labels of a [Keyring].
const (
	firstLabel  = "fleetprov-1"
	secondLabel = "fleetprov-2"
)

// otherLabel returns the label that is free while label is in use.
func otherLabel(label string) string {
	if label == firstLabel {
		return secondLabel
	}
	return firstLabel
}

// UseKeyring gives the credentials the private key that keyring has under their
// KeyLabel, after they were loaded without it. It fails with [ErrKeyMissing] if there
// is none, and with [ErrKeyMismatch] if it is another key than the certificate's. Any
// other error is the keyring's own, which may pass.
func (c *Credentials) UseKeyring(ctx context.Context, keyring Keyring) error {
	switch {
	case keyring == nil:
		return errors.New("fleetprov: the keyring is nil")
	case c.KeyLabel == "":
		return fmt.Errorf("fleetprov: the credentials name no key of a keyring: %w", ErrKeyMissing)
	}
	key, err := findKey(ctx, keyring, c.KeyLabel)
	if err != nil {
		return fmt.Errorf("fleetprov: %w", err)
	}
	return c.SetPrivateKey(key)
}

// findKey asks keyring for a key, for as long as ctx lasts.
func findKey(ctx context.Context, keyring Keyring, label string) (crypto.Signer, error) {
	doing := "asking the keyring for " + label
	key, err := bounded.Read(ctx, doing, func(ctx context.Context) (crypto.Signer, error) { return keyring.Key(ctx, label) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyMissing, doing, err)
	}
	return tokenKey(doing, key, err)
}

// makeKey lets keyring make a key, for as long as ctx lasts. While one is still being
// made that was not waited for, no other is begun: the late one would take its place.
func makeKey(ctx context.Context, keyring Keyring, label string) (crypto.Signer, error) {
	doing := "making " + label + " in the keyring"
	made := make(chan crypto.Signer, 1)
	generate := func(ctx context.Context) error {
		key, err := keyring.Generate(ctx, label)
		made <- key
		return err
	}
	var owner any = made // of a keyring that cannot be compared nothing is known
	if reflect.ValueOf(keyring).Comparable() {
		owner = keyring
	}
	if _, ended := bounded.Overdue(owner); ended != nil {
		return nil, &keys.TokenError{Err: errors.New("the keyring hangs: it has not ended making a key yet")}
	}
	if err := bounded.Write(ctx, owner, label+" in the keyring", generate); err != nil {
		return tokenKey(doing, nil, err)
	}
	key, err := tokenKey(doing, <-made, nil)
	if err != nil {
		return nil, err
	}
	return key, keys.Check(key)
}

// tokenKey returns the key that a keyring returned, or a [keys.TokenError].
func tokenKey(doing string, key crypto.Signer, err error) (crypto.Signer, error) {
	switch {
	case err != nil:
		return nil, &keys.TokenError{Err: fmt.Errorf("%s: %w", doing, err)}
	case keys.IsNil(key):
		return nil, &keys.TokenError{Err: fmt.Errorf("%s: it returned neither a key nor an error", doing)}
	}
	return key, nil
}

// hardware finds the keys of one run that live in hardware: the one of WithPrivateKey,
// or those of a keyring.
type hardware struct {
	privateKey crypto.Signer
	keyring    Keyring
	step       func(ctx context.Context, do func(context.Context) error) error // asks the keyring
}

// giveKey gives credentials whose key is not in their file that key. If it is missing,
// or another key, that is not damage.
func (h *hardware) giveKey(ctx context.Context, file *credfile.File) error {
	if file.Key != nil {
		return nil
	}
	key, err := h.key(ctx, file.KeyLabel)
	if err != nil {
		return err
	}
	if err := newCredentials(file).setKey(key); err != nil {
		whose := "of WithPrivateKey"
		if file.KeyLabel != "" {
			whose = file.KeyLabel + " in the keyring"
		}
		return fmt.Errorf("the key %s: %w", whose, err)
	}
	file.Key = key
	return nil
}

// key returns the key of that label, or the one of WithPrivateKey if there is no label.
func (h *hardware) key(ctx context.Context, label string) (key crypto.Signer, err error) {
	switch {
	case label == "" && h.privateKey == nil:
		return nil, fmt.Errorf("%w: it lives in hardware: give it with WithPrivateKey", ErrKeyMissing)
	case label == "":
		return h.privateKey, nil
	case h.keyring == nil:
		return nil, fmt.Errorf("%w: it lives in a keyring, under the label %q: give that with WithKeyring", ErrKeyMissing, label)
	}
	err = h.step(ctx, func(ctx context.Context) (err error) {
		key, err = findKey(ctx, h.keyring, label)
		return err
	})
	return key, err
}

// labelFor chooses where a run makes its key, if it makes one in a keyring: under begun,
// if an earlier run was about to, and never where a key may be in use.
func (h *hardware) labelFor(ctx context.Context, found stored, begun string) (label string, err error) {
	inUse := ""
	if found.credentials != nil {
		inUse = found.credentials.KeyLabel
	}
	switch {
	case h.keyring == nil:
		return "", nil
	case begun != "" && begun != inUse:
		return begun, nil
	case found.unreadable == nil:
		return otherLabel(inUse), nil
	}
	err = h.step(ctx, func(ctx context.Context) (err error) {
		label, err = freeLabel(ctx, h.keyring)
		return err
	})
	return label, err
}

// creation is how a run gets a certificate for a key that it makes under label. When
// ended has returned, the keyring makes none for this run any more, or hangs.
func (h *hardware) creation(ctx context.Context, label string, format exchange.Format) (_ exchange.Creation, ended func()) {
	ctx, cancel := context.WithCancel(ctx)
	making := make(chan struct{}, 1) // holds one while a key is being made
	ended = func() {
		cancel()
		making <- struct{}{}
		<-making
	}
	return &exchange.OwnKey{Format: format, Key: func() (crypto.Signer, error) {
		making <- struct{}{}
		defer func() { <-making }()
		return makeKey(ctx, h.keyring, label)
	}}, ended
}

// freeLabel returns the label under which a device may make a key when nothing tells
// which one is in use: one that has none.
func freeLabel(ctx context.Context, keyring Keyring) (string, error) {
	for _, label := range []string{firstLabel, secondLabel} {
		switch _, err := findKey(ctx, keyring, label); {
		case errors.Is(err, ErrKeyMissing):
			return label, nil
		case err != nil:
			return "", err
		}
	}
	return "", fmt.Errorf("the stored credentials cannot be read, and both %s and %s have a key, one of which may be in use: "+
		"delete the one that is not, or both if the device is to be provisioned anew", firstLabel, secondLabel)
}
