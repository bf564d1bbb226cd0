package fleetprov_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// Every failure of Provision says which step failed; what AWS answered is behind
// it, word for word.
func ExampleRejectedError() {
	server := fleetprovtest.NewUnstartedServer()
	server.Hook = func(r fleetprovtest.HookRequest) fleetprovtest.HookResponse {
		return fleetprovtest.HookResponse{AllowProvisioning: r.Parameters["SerialNumber"] == "12345"}
	}
	server.Start()
	defer server.Close()
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	if err != nil {
		log.Fatal(err)
	}

	_, err = provisioner.Provision(context.Background(), map[string]string{"SerialNumber": "99999"})
	var failure *fleetprov.Error
	if errors.As(err, &failure) {
		fmt.Println("step:", failure.Op)
	}
	var rejected *fleetprov.RejectedError
	if errors.As(err, &rejected) {
		fmt.Println("status:", rejected.StatusCode)
		fmt.Println("code:", rejected.Code)
	}
	fmt.Println("retryable:", fleetprov.Retryable(err))
	// Output:
	// step: RegisterThing
	// status: 403
	// code: AccessDenied
	// retryable: false
}
