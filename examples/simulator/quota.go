package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// answers are what becomes of a request over a quota, by what -quota calls them.
var answers = map[string]fleetprovtest.QuotaAnswer{
	"close": fleetprovtest.CloseConnection,
	"429":   fleetprovtest.Answer429,
	"400":   fleetprovtest.Answer400,
}

// parseQuota reads a quota such as RegisterThing=10, or RegisterThing=10:429. With an
// error, the results are zero.
func parseQuota(text string) (fleetprovtest.Op, fleetprovtest.Quota, error) {
	name, rate, ok := strings.Cut(text, "=")
	if !ok {
		return "", fleetprovtest.Quota{}, errors.New("it must be operation=number, or operation=number:429")
	}
	op, err := parseOp(name)
	if err != nil {
		return "", fleetprovtest.Quota{}, err
	}
	rate, word, given := strings.Cut(rate, ":")
	answer, ok := answers[word]
	if given && !ok {
		return "", fleetprovtest.Quota{}, fmt.Errorf("%q is none of close, 429 and 400", word)
	}
	perSecond, err := strconv.ParseFloat(rate, 64)
	if err != nil || !(perSecond >= 0) || math.IsInf(perSecond, 1) {
		return "", fleetprovtest.Quota{}, errors.New("the number of requests a second must be 0 or more")
	}
	return op, fleetprovtest.Quota{PerSecond: perSecond, Answer: answer}, nil
}
