package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

var operations = []fleetprovtest.Op{
	fleetprovtest.OpConnect,
	fleetprovtest.OpSubscribe,
	fleetprovtest.OpCreateKeysAndCertificate,
	fleetprovtest.OpCreateCertificateFromCSR,
	fleetprovtest.OpRegisterThing,
}

// parseOp reads the name of an operation as AWS spells it.
func parseOp(name string) (fleetprovtest.Op, error) {
	if op := fleetprovtest.Op(name); slices.Contains(operations, op) {
		return op, nil
	}
	var names []string
	for _, op := range operations {
		names = append(names, string(op))
	}
	return "", fmt.Errorf("there is no operation %q: use one of %s", name, strings.Join(names, ", "))
}
