package controlplane

import (
	"context"
	"log/slog"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iotservice"
)

// Account is what the control plane works on besides its own roles and functions.
type Account struct {
	Registry *iotregistry.Registry
	Service  *iotservice.Service
	Endpoint string // that devices connect to, host:port
	Now      func() time.Time
	Logger   *slog.Logger

	// Updated is called with the id of a certificate whose status was set.
	Updated func(certificateID string)
}

// plane is what the operations work on: an account with its roles and functions, each of
// which guards itself.
type plane struct {
	account   Account
	roles     roles
	functions functions
	ctx       context.Context // ends with the control plane
}
