package tokenkeys

import (
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// module is a shared library that speaks to tokens. A process initializes one once, so
// that all who use it take turns, and each finds the tokens that are there now.
type module struct {
	path string
	busy chan struct{} // holds one element while the module is in use

	library *pkcs11.Ctx // of whoever has put an element into busy; nil: not loaded yet
}

// modules holds a module for each path that was used. They stay loaded: not every
// library can be unloaded.
var modules struct {
	mu     sync.Mutex
	byPath map[string]*module
}

func moduleAt(path string) *module {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	m := modules.byPath[path]
	if m == nil {
		if modules.byPath == nil {
			modules.byPath = map[string]*module{}
		}
		m = &module{path: path, busy: make(chan struct{}, 1)}
		modules.byPath[path] = m
	}
	return m
}

// initialized calls do with the module initialized.
func (m *module) initialized(do func(*pkcs11.Ctx) error) error {
	if m.library == nil {
		if m.library = pkcs11.New(m.path); m.library == nil {
			return fmt.Errorf("%s cannot be loaded: is it the path of a PKCS #11 module for this machine?", m.path)
		}
	}
	if err := m.library.Initialize(); err != nil {
		return fmt.Errorf("initializing %s: %w", m.path, err)
	}
	defer m.library.Finalize()
	return do(m.library)
}
