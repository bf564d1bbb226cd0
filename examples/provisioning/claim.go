package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/fleetprov/fleetprov"
)

// loadClaim opens the claim. Its errors tell the user of this program what to do.
func loadClaim(path, password string) (*fleetprov.Identity, error) {
	claim, err := fleetprov.LoadPFX(path, password)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: put the claim there or name it with -pfx; examples/secrets/README.md says how to make it", err)
	case errors.Is(err, fleetprov.ErrIncorrectPassword):
		return nil, fmt.Errorf("%w: set IDENTITY_PASSWORD to the password of the file", err)
	case err != nil:
		return nil, fmt.Errorf("%w: examples/secrets/README.md says how to make the claim", err)
	default:
		return claim, nil
	}
}
