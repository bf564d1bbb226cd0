package main

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// parseQuota reads a quota such as RegisterThing=10, or RegisterThing=10:close. With an
// error, the results are zero.
func parseQuota(text string) (fleetprovtest.Op, fleetprovtest.Quota, error) {
	name, rate, ok := strings.Cut(text, "=")
	if !ok {
		return "", fleetprovtest.Quota{}, errors.New("it must be operation=number, or operation=number:close")
	}
	op, err := parseOp(name)
	if err != nil {
		return "", fleetprovtest.Quota{}, err
	}
	rate, closes := strings.CutSuffix(rate, ":close")
	perSecond, err := strconv.ParseFloat(rate, 64)
	if err != nil || !(perSecond >= 0) || math.IsInf(perSecond, 1) {
		return "", fleetprovtest.Quota{}, errors.New("the number of requests a second must be 0 or more")
	}
	return op, fleetprovtest.Quota{PerSecond: perSecond, Close: closes}, nil
}
