package main

import (
	"fmt"
	"slices"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

var operations = []fleetprovtest.Op{
	fleetprovtest.OpConnect,
	fleetprovtest.OpSubscribe,
	fleetprovtest.OpCreateKeysAndCertificate,
	fleetprovtest.OpCreateCertificateFromCSR,
	fleetprovtest.OpRegisterThing,
}

// parseOp reads the name of an operation as AWS spells it. An error comes with "".
func parseOp(name string) (fleetprovtest.Op, error) {
	if op := fleetprovtest.Op(name); slices.Contains(operations, op) {
		return op, nil
	}
	return "", fmt.Errorf("there is no operation %q, but there are %v", name, operations)
}
