package crash_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// Nobody outside AWS knows whether a token can be used again after a registration that
// succeeded. The device has an identity that works either way. What differs is what
// becomes of a registration whose answer it never saw.
func TestWhatBecomesOfAnIdentity(t *testing.T) {
	const first, second = "the first certificate", "a second certificate"
	for _, test := range []struct {
		name           string
		fault          fleetprovtest.Fault // of RegisterThing in the first boot
		flashFails     bool                // in the first boot, when the credentials are to be stored
		reused, single string              // which certificate the device ends with
		left           int                 // active certificates that no device has, with tokens that can be used once
	}{
		{
			name:   "RegisterThing fails",
			fault:  fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 500}},
			reused: first, single: first,
		},
		{
			name:   "RegisterThing succeeds, and its answer is lost with the connection",
			fault:  fleetprovtest.Fault{Disconnect: true},
			reused: first, single: second, left: 1,
		},
		{
			name:   "RegisterThing succeeds, and its answer never comes",
			fault:  fleetprovtest.Fault{Drop: true},
			reused: first, single: second, left: 1,
		},
		{
			name:       "the answer comes, and the credentials cannot be stored",
			flashFails: true,
			reused:     first, single: first,
		},
	} {
		for _, singleUse := range []bool{false, true} {
			name, want, left := test.name+"; the token can be used again", test.reused, 0
			if singleUse {
				name, want, left = test.name+"; the token can be used once", test.single, test.left
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, singleUse, fleetprov.WithMaxAttempts(1), fleetprov.WithStepTimeout(5*time.Second))
					w.server.Inject(fleetprovtest.OpRegisterThing, test.fault)
					if test.flashFails {
						w.flash.FailOn("put", "credentials.pem", errPowerCut)
					}
					_, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
					require.Error(t, err, "the first boot does not get to the end")
					w.flash.Fail = nil

					again, err := w.bootUntilDone()
					require.NoError(t, err)
					got := first
					if len(w.server.Certificates()) > 1 && again.CertificateID != w.server.Certificates()[0].ID {
						got = second
					}
					assert.Equal(t, want, got)
					w.connects(again)
					abandoned := slices.DeleteFunc(w.active(), func(id string) bool { return id == again.CertificateID })
					assert.Len(t, abandoned, left)
					require.Len(t, w.server.Things(), 1)
				})
			})
		}
	}
}

// A hook that lets a thing have one active certificate knows the device that asks again by
// its certificate. If the token of that one can be used once, the device comes with another
// one, and an operator has to release its serial number.
func TestWhatBecomesOfAnIdentityThatAHookKnows(t *testing.T) {
	for name, singleUse := range map[string]bool{"the token can be used again": false, "the token can be used once": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w *world
				w = newWorldWith(t, func(s *fleetprovtest.Server) {
					s.SingleUseTokens = singleUse
					s.Hook = func(r fleetprovtest.HookRequest) fleetprovtest.HookResponse {
						return fleetprovtest.HookResponse{AllowProvisioning: !slices.ContainsFunc(w.active(), func(id string) bool { return id != r.CertificateID })}
					}
				}, fleetprov.WithMaxAttempts(1), fleetprov.WithStepTimeout(5*time.Second))
				w.server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{Disconnect: true})
				_, err := w.boot((*fleetprov.Provisioner).Ensure, new(power))
				require.ErrorIs(t, err, fleetprov.ErrConnectionLost)
				first := w.active()
				require.Len(t, first, 1, "AWS has registered it")

				again, err := w.bootUntilDone()
				if !singleUse {
					require.NoError(t, err)
					assert.Equal(t, first, []string{again.CertificateID})
					return
				}
				var rejected *fleetprov.RejectedError
				require.ErrorAs(t, err, &rejected)
				assert.Equal(t, 403, rejected.StatusCode)
				require.NoError(t, w.server.UpdateCertificate(first[0], fleetprovtest.StatusInactive))
				again, err = w.bootUntilDone()
				require.NoError(t, err)
				w.connects(again)
				assert.Equal(t, first, again.AbandonedCertificateIDs)
			})
		})
	}
}

// bootUntilDone boots once more, and again if that boot does not get to the end.
func (w *world) bootUntilDone() (credentials *fleetprov.Credentials, err error) {
	for range 3 {
		if credentials, err = w.boot((*fleetprov.Provisioner).Ensure, new(power)); err == nil {
			return credentials, nil
		}
	}
	return nil, err
}
