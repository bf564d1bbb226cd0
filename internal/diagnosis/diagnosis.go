// Package diagnosis says what the failure of a step means, and what to check. Each
// step brings its own [Hints], so that none can be given the advice of another.
package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/internal/exchange"
	"github.com/fleetprov/fleetprov/internal/keys"
	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/mqttsession"
)

// The causes a caller branches on. The root documents them.
var (
	ErrNotAuthorized  = errors.New("not authorized")
	ErrConnectionLost = errors.New("connection lost")
	ErrClock          = errors.New("the device's clock is wrong")

	ErrClosedOnConnect = fmt.Errorf("%w: the server closed it after CONNECT, without an answer", ErrConnectionLost)
)

// Explain says why a step under ctx failed with err, and what to do. Now is the time
// that certificates are judged by. What AWS rejected is the caller's to explain, with
// [Hints].Rejected.
func Explain(ctx context.Context, hints Hints, err error, now time.Time) error {
	var (
		key     *keys.Error
		timeout *TimeoutError
		unopen  *link.DialError
	)
	_, isKeyring := hints.(*Keyring)
	isKey := errors.As(err, &key)
	if isKey && errors.As(key.Err, &timeout) {
		return &keys.Error{Err: fmt.Errorf("it has not signed within %v: %w", timeout.After, os.ErrDeadlineExceeded)}
	}
	store, isStore := hints.(*Store)
	if isStore && !strings.HasPrefix(err.Error(), store.Doing) {
		err = fmt.Errorf("%s: %w", store.Doing, err)
	}
	if ended := EndOf(ctx, err); ended != nil {
		return ended
	}
	switch {
	case isKey, isKeyring:
		return err
	case isStore:
		return fmt.Errorf("%w; check the free space, the permissions and the mount of the store", err)
	case errors.As(err, &unopen):
		return dial(hints, unopen, now)
	default:
		return session(hints, err)
	}
}

// session says what ended a step on an open connection.
func session(hints Hints, err error) error {
	var (
		connack *mqttsession.ConnackError
		suback  *mqttsession.SubackError
	)
	switch {
	case errors.Is(err, exchange.ErrBadResponse):
		return fmt.Errorf("%w; %s", err, hints.BadAnswer())
	case errors.Is(err, mqttsession.ErrProtocol):
		return fmt.Errorf("%w: %w; %s", exchange.ErrBadResponse, err, hints.BadAnswer())
	case errors.As(err, &connack):
		if connack.Code == mqttsession.ConnackNotAuthorized || connack.Code == mqttsession.ConnackNotAuthorizedAWS {
			return fmt.Errorf("%w: %w; %s", ErrNotAuthorized, err, hints.Refused())
		}
		return err
	case errors.As(err, &suback):
		return fmt.Errorf("%w: %w; %s", ErrNotAuthorized, err, hints.Closed())
	case isClaimAlert(err):
		// With TLS 1.3 the verdict on the client's certificate comes after the
		// client has ended its handshake.
		return refusedCertificate(hints, err)
	case hints.Connects() && errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w; %s", ErrClosedOnConnect, err, hints.Closed())
	default:
		return fmt.Errorf("%w: %w; %s", ErrConnectionLost, err, hints.Closed())
	}
}
