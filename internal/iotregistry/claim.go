package iotregistry

import "time"

// claims are the certificates that devices provision themselves with and that are not
// among the certificates. The Registry's mutex guards them.
type claims struct {
	id, status string // of the one that the account has from the beginning
	temporary  map[string]temporaryClaim
}

// temporaryClaim is a claim for a device that is being installed (provision-wo-cert,
// "provisioning by trusted user").
type temporaryClaim struct {
	template string // the only one that it can be used for
	expires  time.Time
}

func newClaims() claims {
	return claims{status: Active, temporary: make(map[string]temporaryClaim)}
}

// status returns the status of a claim, or "".
func (s *claims) statusOf(id string) string {
	if id == s.id {
		return s.status
	}
	if _, exists := s.temporary[id]; exists {
		return Active
	}
	return ""
}

func (s *claims) expire(now time.Time) {
	for id, claim := range s.temporary {
		if !now.Before(claim.expires) {
			delete(s.temporary, id)
		}
	}
}
