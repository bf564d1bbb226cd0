package journal

import (
	"sync"

	"github.com/fleetprov/fleetprov/internal/credfile"
)

// Unwritten holds renewed credentials that AWS has accepted and that no store has, so
// that the next renewal in this process tries them before it asks for others. The zero
// value is empty. It may be used by any number of goroutines.
type Unwritten struct {
	mu       sync.Mutex
	replaces map[string]*credfile.File // by the id of the certificate they replace
}

// Keep holds credentials that replace those with the id previous.
func (u *Unwritten) Keep(previous string, renewed *credfile.File) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.replaces == nil {
		u.replaces = make(map[string]*credfile.File)
	}
	u.replaces[previous] = renewed
}

// Renewed returns what replaces the credentials with the id previous, or nil.
func (u *Unwritten) Renewed(previous string) *credfile.File {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.replaces[previous]
}

// Forget is for when they are written, or of no use.
func (u *Unwritten) Forget(previous string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.replaces, previous)
}
