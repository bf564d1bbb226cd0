package iotregistry

import (
	"slices"
	"time"
)

// detachLag is how long a policy or a thing stays attached after it was detached. AWS
// says that it takes several seconds and gives no number (API_DetachThingPrincipal).
const detachLag = time.Second

// detachment is what is about to be detached from a certificate: a policy or a thing.
type detachment struct{ certificateID, policy, thing string }

// detachments are what is about to be detached, with the time when it will be. The
// Registry's mutex guards them. They are not kept as a [Change] before they are made.
type detachments map[detachment]time.Time

func (s detachments) due(now time.Time) []detachment {
	var due []detachment
	for d, at := range s {
		if !now.Before(at) {
			due = append(due, d)
			delete(s, d)
		}
	}
	return due
}

// without returns a copy of all without one.
func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}
