// Package renewal decides when a device renews its certificate.
package renewal

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"
)

// The waits after a renewal that failed.
const (
	minWait = time.Hour
	maxWait = 24 * time.Hour
)

// Due returns when a certificate is to be renewed: before its end, or if before is zero
// or longer than the certificate lives, a third of its lifetime before. By a hash of the
// device's name it comes up to a third of that later, so that devices made together do
// not renew together.
func Due(certificate *x509.Certificate, before time.Duration, name string) time.Time {
	lifetime := certificate.NotAfter.Sub(certificate.NotBefore)
	if before == 0 || before >= lifetime {
		before = lifetime / 3
	}
	// The names of a fleet differ in a digit or two: a weaker hash keeps them together.
	hash := sha256.Sum256([]byte(name))
	part := float64(binary.BigEndian.Uint32(hash[:])) / (1 << 32)
	return certificate.NotAfter.Add(-before + time.Duration(part*float64(before/3)))
}

// Wait is how long to wait after so many renewals that failed, at least one, with a
// certificate that is good for as long as left: later and later, but sooner as its end
// comes near. One that has ended works all the same if it is the clock that is wrong.
// The caller draws random from [0, 1).
func Wait(failures int, left time.Duration, random float64) time.Duration {
	wait := min(minWait<<min(failures-1, 10), maxWait)
	if left > 0 {
		wait = max(min(wait, left/10), time.Minute)
	}
	return wait + time.Duration(random*float64(wait)/2)
}
