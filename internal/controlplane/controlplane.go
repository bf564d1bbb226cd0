// Package controlplane serves the AWS APIs with which an operator sets a fleet up: of AWS
// IoT, IAM, Lambda and STS what provisioning takes. Requests may be signed with any
// credentials, or not at all: the signature says only which region is meant. What AWS's
// service models say of an operation (its path, its members and their limits) is one row
// of a table: see [operation].
//
// The account is one whatever region a request is for. Every ARN in an answer has that
// region, and in a request any region will do.
package controlplane

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
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

	// Deactivated is called with the id of a certificate that is not active any more, and why.
	Deactivated func(certificateID, why string)
}

// Plane is the control plane of an account: an [http.Handler]. It owns the account's roles
// and functions.
type Plane struct {
	account   Account
	roles     roles
	functions functions
	routes    *http.ServeMux

	mu      sync.Mutex // guards closed
	closed  bool
	serving sync.WaitGroup
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
}

// New returns a control plane for an account that has no roles and functions.
func New() *Plane {
	p := &Plane{roles: newRoles(), functions: newFunctions(), routes: http.NewServeMux()}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, o := range iotOperations {
		p.routes.HandleFunc(o.route, p.rest(iotAPI, o))
	}
	for _, o := range lambdaOperations {
		p.routes.HandleFunc(o.route, p.rest(lambdaAPI, o))
	}
	p.routes.HandleFunc("POST /{$}", p.query)
	p.routes.HandleFunc("/", unknownPath)
	return p
}

// Serve makes the control plane answer, for an account.
func (p *Plane) Serve(account Account) { p.account = account }

// ServeHTTP implements [http.Handler]. It must not be called before [Plane.Serve].
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		writeJSONError(w, &apiError{"ServiceUnavailableException", "The server is closed."})
		return
	}
	defer p.serving.Done()
	p.routes.ServeHTTP(w, r)
}

func (p *Plane) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.serving.Add(1)
	}
	return !p.closed
}

// Close ends all functions, and waits for requests that are being answered.
func (p *Plane) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.serving.Wait()
	p.functions.close()
}
