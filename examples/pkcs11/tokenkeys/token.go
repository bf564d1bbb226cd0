package tokenkeys

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// token is a token of a module.
type token struct {
	module  *module
	label   string
	pin     func() string // not a string, which fmt would print
	refused atomic.Bool   // the token has refused the PIN
}

func newToken(path, label, pin string) *token {
	return &token{module: moduleAt(path), label: label, pin: func() string { return pin }}
}

// session is an open session with a token, as its user.
type session struct {
	library *pkcs11.Ctx
	handle  pkcs11.SessionHandle
}

// use opens a session for do, until ctx ends. A module that does not answer then is left
// behind, since nothing can stop it; until it has answered it counts as busy.
func use[T any](ctx context.Context, t *token, do func(*session) (T, error)) (none T, err error) {
	select {
	case t.module.busy <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%s is still busy with an earlier call: %w", t.module.path, context.Cause(ctx))
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-t.module.busy }()
		var r result
		r.err = t.session(func(s *session) (err error) {
			r.value, err = do(s)
			return err
		})
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("%s has not answered: %w", t.module.path, context.Cause(ctx))
	}
}

func (t *token) session(do func(*session) error) error {
	return t.module.initialized(func(library *pkcs11.Ctx) error {
		slot, info, err := t.find(library)
		if err != nil {
			return err
		}
		handle, err := library.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return fmt.Errorf("opening a session with the token %q: %w", t.label, err)
		}
		defer library.CloseSession(handle)
		s := &session{library: library, handle: handle}
		if err := t.login(s, info); err != nil {
			return err
		}
		return do(s)
	})
}

// find looks for the token in all slots.
func (t *token) find(library *pkcs11.Ctx) (slot uint, info pkcs11.TokenInfo, err error) {
	slots, err := library.GetSlotList(true)
	if err != nil {
		return 0, info, fmt.Errorf("listing the slots of %s: %w", t.module.path, err)
	}
	var found int
	for _, candidate := range slots {
		// Another slot's token may be broken, or not set up.
		if i, err := library.GetTokenInfo(candidate); err == nil && i.Label == t.label {
			slot, info = candidate, i
			found++
		}
	}
	if found != 1 {
		return 0, info, fmt.Errorf("%s has %d tokens with the label %q: there must be one", t.module.path, found, t.label)
	}
	return slot, info, nil
}

// login proves to the token that this is its user.
func (t *token) login(s *session, info pkcs11.TokenInfo) error {
	switch {
	case info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0:
		return nil
	case t.refused.Load():
		return fmt.Errorf("the token %q has refused the PIN, which is not tried again: start the program with the right one", t.label)
	case info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("the token %q locks itself if the next PIN is wrong, so that none is tried: log in by hand, with pkcs11-tool --login --test, say", t.label)
	}
	err := s.library.Login(s.handle, pkcs11.CKU_USER, t.pin())
	switch {
	case err == nil, errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		return nil
	case isRefusal(err):
		t.refused.Store(true)
	}
	return fmt.Errorf("logging in to the token %q: %w", t.label, err)
}

// isRefusal reports whether a token has refused the PIN, and not something else.
func isRefusal(err error) bool {
	for _, code := range []uint{
		pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE,
		pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED,
	} {
		if errors.Is(err, pkcs11.Error(code)) {
			return true
		}
	}
	return false
}
