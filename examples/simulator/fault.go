package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

const faultHelp = `  reject=STATUS    refuse with a status of 400 to 599 (Connect: a CONNACK code such as 7; Subscribe: a SUBACK
                   code such as 128)
  code=TEXT, message=TEXT  errorCode and errorMessage of the rejection, without colons
  delay=DURATION   the answer waits, such as 1.5s
  drop             never answer
  duplicate        answer twice
  disconnect       close the connection in place of the answer
  count=NUMBER     how many requests it affects (default 1); alone, how many requests pass
such as RegisterThing:reject=429:count=3`

// maxCount is the most requests that one -fault may affect.
const maxCount = 100_000

// injection is a fault, and how many requests of an operation it affects.
type injection struct {
	op    fleetprovtest.Op
	fault fleetprovtest.Fault
	count int
}

// parseFault reads the value of -fault. With an error, the injection is zero.
func parseFault(text string) (injection, error) {
	name, what, _ := strings.Cut(text, ":")
	op, err := parseOp(name)
	if err != nil {
		return injection{}, err
	}
	if what == "" {
		return injection{}, errors.New("it must say what goes wrong, such as RegisterThing:drop")
	}
	parsed, given := injection{op: op, count: 1}, make(map[string]bool)
	for part := range strings.SplitSeq(what, ":") {
		key, value, hasValue := strings.Cut(part, "=")
		if given[key] {
			return injection{}, fmt.Errorf("%s is given twice", key)
		}
		given[key] = true
		if err := parsed.set(key, value, hasValue); err != nil {
			return injection{}, err
		}
	}
	if err := parsed.check(given["reject"]); err != nil {
		return injection{}, err
	}
	return parsed, nil
}

func (i *injection) set(key, value string, hasValue bool) (err error) {
	switch key {
	case "drop", "duplicate", "disconnect":
		if hasValue {
			return fmt.Errorf("%s takes no value", key)
		}
	}
	switch key {
	case "reject":
		i.rejection().StatusCode, err = parseStatus(i.op, value)
	case "code":
		i.rejection().Code = value
	case "message":
		i.rejection().Message = value
	case "delay":
		if i.fault.Delay, err = time.ParseDuration(value); err != nil || i.fault.Delay < 0 {
			return fmt.Errorf("the delay %q is not a duration such as 1.5s", value)
		}
	case "drop":
		i.fault.Drop = true
	case "duplicate":
		i.fault.Duplicate = true
	case "disconnect":
		i.fault.Disconnect = true
	case "count":
		if i.count, err = strconv.Atoi(value); err != nil || i.count < 1 || i.count > maxCount {
			return fmt.Errorf("the count %q is not a number from 1 to %d", value, maxCount)
		}
	default:
		return fmt.Errorf("%q is none of reject=, code=, message=, delay=, drop, duplicate, disconnect and count=", key)
	}
	return err
}

func (i *injection) rejection() *fleetprovtest.Rejection {
	if i.fault.Reject == nil {
		i.fault.Reject = new(fleetprovtest.Rejection)
	}
	return i.fault.Reject
}

// parseStatus reads the number that an operation is rejected with.
func parseStatus(op fleetprovtest.Op, text string) (int, error) {
	least, most := 400, 599
	switch op {
	case fleetprovtest.OpConnect:
		least, most = 1, 255
	case fleetprovtest.OpSubscribe:
		least, most = 128, 255
	}
	status, err := strconv.Atoi(text)
	if err != nil || status < least || status > most {
		return 0, fmt.Errorf("%s is rejected with a number from %d to %d, not %q", op, least, most, text)
	}
	return status, nil
}

// check refuses combinations that make no sense.
func (i *injection) check(rejected bool) error {
	f := i.fault
	switch {
	case f.Drop && f.Duplicate, f.Drop && f.Disconnect, f.Duplicate && f.Disconnect:
		return errors.New("drop, duplicate and disconnect exclude each other")
	case f.Reject == nil, f.Reject.Code == "" && f.Reject.Message == "":
		return nil
	case !rejected:
		return errors.New("code and message go with reject=STATUS")
	case i.op == fleetprovtest.OpConnect, i.op == fleetprovtest.OpSubscribe:
		return fmt.Errorf("%s is rejected with a number alone, without code and message", i.op)
	}
	return nil
}
