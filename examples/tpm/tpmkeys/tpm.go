package tpmkeys

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/google/go-tpm/tpm2/transport"
)

// tpm is a TPM that is opened for each use, so that other programs have their turn, and
// one that was away for a while is found again.
type tpm struct {
	path string
	busy chan struct{} // holds one element while the TPM is in use
}

func newTPM(path string) *tpm { return &tpm{path: path, busy: make(chan struct{}, 1)} }

// use lets do talk to the TPM, until ctx ends. A TPM that does not answer is left
// behind then. If it is a device, its driver gives up by itself after a while; until
// that has happened the TPM counts as busy.
func use[T any](ctx context.Context, t *tpm, do func(transport.TPM) (T, error)) (none T, err error) {
	select {
	case t.busy <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("the TPM %s is still busy with an earlier command: %w", t.path, context.Cause(ctx))
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-t.busy }()
		value, err := talk(ctx, t.path, do)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err == nil || ctx.Err() == nil {
			return r.value, r.err
		}
	case <-ctx.Done():
	}
	return none, fmt.Errorf("the TPM %s has not answered: %w", t.path, context.Cause(ctx))
}

// talk opens the TPM for do, and closes it when do has returned or ctx ends.
func talk[T any](ctx context.Context, path string, do func(transport.TPM) (T, error)) (none T, err error) {
	connection, err := open(ctx, path)
	if err != nil {
		// Not wrapped: a TPM that is not there is no key that is not there.
		return none, fmt.Errorf("opening the TPM: %v", err)
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	return do(transport.FromReadWriteCloser(connection))
}

func open(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&os.ModeSocket != 0:
		return new(net.Dialer).DialContext(ctx, "unix", path)
	case info.Mode()&os.ModeDevice == 0:
		return nil, fmt.Errorf("%s is neither a device nor a socket", path)
	default:
		return os.OpenFile(path, os.O_RDWR, 0)
	}
}
