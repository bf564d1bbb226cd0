// Package controlplane serves the AWS APIs with which an operator sets a fleet up: of AWS
// IoT, IAM, Lambda and STS what provisioning takes. Requests are signed with any
// credentials, as the AWS CLI and SDKs sign every request; the signature is not verified,
// and says only which region is meant. What a web page could send is refused: see
// [Plane.ServeHTTP].
//
// What AWS's service models say of an operation (its path, its members and their limits) is
// one row of a table: see [operation].
//
// The account is one whatever region a request is for. Every ARN in an answer has that
// region, and in a request any region will do.
package controlplane

import (
	"context"
	"net/http"
	"sync"

	"github.com/fleetprov/fleetprov/internal/iotservice"
)

// Plane is the control plane of an account: an [http.Handler]. It owns the account's roles
// and functions.
type Plane struct {
	plane  *plane
	routes *http.ServeMux
	cancel context.CancelFunc

	mu      sync.Mutex // guards closed
	closed  bool
	serving sync.WaitGroup
}

// New returns a control plane for an account that has no roles and functions.
func New() *Plane {
	ctx, cancel := context.WithCancel(context.Background())
	shared := &plane{roles: newRoles(), functions: newFunctions(), ctx: ctx}
	p := &Plane{plane: shared, routes: http.NewServeMux(), cancel: cancel}
	for _, o := range iotOperations {
		p.routes.HandleFunc(o.route, shared.rest(iotAPI, o))
	}
	for _, o := range lambdaOperations {
		p.routes.HandleFunc(o.route, shared.rest(lambdaAPI, o))
	}
	p.routes.HandleFunc("POST /{$}", shared.query(iamOperations, stsOperations))
	p.routes.HandleFunc("GET "+codePath+"{name}", shared.serveCode)
	p.routes.HandleFunc("/", unknownPath)
	return p
}

// Serve makes the control plane answer, for an account.
func (p *Plane) Serve(account Account) { p.plane.account = account }

// Invoke runs the function of a hook, if AWS IoT may call it for the template.
func (p *Plane) Invoke(targetARN string, request iotservice.HookRequest) (iotservice.HookResponse, error) {
	return p.plane.invoke(targetARN, request)
}

// CheckRole fails if AWS IoT may not take a role, or the role gives no right to register
// things: by one of AWS's policies for that, or by one of its own, whatever that says.
func (p *Plane) CheckRole(arn string) error { return p.plane.checkRole(arn) }

// ServeHTTP implements [http.Handler]. It must not be called before [Plane.Serve]. Functions
// run on this machine, so that no web page in a browser on it may make one: requests with an
// Origin are refused.
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		writeJSONError(w, &apiError{"ServiceUnavailableException", "The server is closed."})
		return
	}
	defer p.serving.Done()
	if err := checkSender(r); err != nil {
		writeJSONError(w, err)
		return
	}
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
	p.plane.functions.close()
}
