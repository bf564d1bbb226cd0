package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestParseFault(t *testing.T) {
	register := func(count int, fault fleetprovtest.Fault) injection {
		return injection{fleetprovtest.OpRegisterThing, fault, count}
	}
	for text, want := range map[string]injection{
		"RegisterThing:reject=429:count=3": register(3, fleetprovtest.Fault{Reject: &fleetprovtest.Rejection{StatusCode: 429}}),
		"RegisterThing:code=ACCESS_DENIED:message=not this = one:reject=403": register(1, fleetprovtest.Fault{
			Reject: &fleetprovtest.Rejection{StatusCode: 403, Code: "ACCESS_DENIED", Message: "not this = one"},
		}),
		"RegisterThing:delay=1.5s":            register(1, fleetprovtest.Fault{Delay: 1500 * time.Millisecond}),
		"RegisterThing:delay=2m:drop:count=2": register(2, fleetprovtest.Fault{Delay: 2 * time.Minute, Drop: true}),
		"RegisterThing:duplicate":             register(1, fleetprovtest.Fault{Duplicate: true}),
		"RegisterThing:disconnect":            register(1, fleetprovtest.Fault{Disconnect: true}),
		"RegisterThing:count=100000":          register(100000, fleetprovtest.Fault{}),
		"Connect:reject=7": {fleetprovtest.OpConnect, fleetprovtest.Fault{
			Reject: &fleetprovtest.Rejection{StatusCode: 7},
		}, 1},
		"Subscribe:reject=128:disconnect": {fleetprovtest.OpSubscribe, fleetprovtest.Fault{
			Reject: &fleetprovtest.Rejection{StatusCode: 128}, Disconnect: true,
		}, 1},
		"CreateKeysAndCertificate:drop": {fleetprovtest.OpCreateKeysAndCertificate, fleetprovtest.Fault{Drop: true}, 1},
		"CreateCertificateFromCsr:drop": {fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Drop: true}, 1},
	} {
		t.Run(text, func(t *testing.T) {
			got, err := parseFault(text)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	for text, says := range map[string]string{
		"":                                      `there is no operation ""`,
		"registerthing:drop":                    `there is no operation "registerthing"`,
		"RegisterThing":                         "it must say what goes wrong",
		"RegisterThing:":                        "it must say what goes wrong",
		"RegisterThing:fail":                    `"fail" is none of reject=`,
		"RegisterThing:drop:":                   `"" is none of reject=`,
		"RegisterThing:drop:drop":               "drop is given twice",
		"RegisterThing:drop=1":                  "drop takes no value",
		"RegisterThing:drop:duplicate":          "exclude each other",
		"RegisterThing:drop:disconnect":         "exclude each other",
		"RegisterThing:duplicate:disconnect":    "exclude each other",
		"RegisterThing:reject":                  `a number from 400 to 599, not ""`,
		"RegisterThing:reject=no":               `a number from 400 to 599, not "no"`,
		"RegisterThing:reject=200":              `a number from 400 to 599, not "200"`,
		"RegisterThing:code=ACCESS_DENIED":      "code and message go with reject=STATUS",
		"RegisterThing:message=no:drop":         "code and message go with reject=STATUS",
		"RegisterThing:delay=1":                 `the delay "1" is not a duration`,
		"RegisterThing:delay=-1s":               `the delay "-1s" is not a duration`,
		"RegisterThing:count=0":                 `the count "0" is not a number from 1 to 100000`,
		"RegisterThing:count=100001":            `the count "100001" is not a number from 1 to 100000`,
		"RegisterThing:count=many":              `the count "many" is not a number`,
		"Connect:reject=256":                    "a number from 1 to 255",
		"Subscribe:reject=1":                    "a number from 128 to 255",
		"Connect:reject=5:code=ACCESS_DENIED":   "with a number alone",
		"Subscribe:reject=128:message=too many": "with a number alone",
	} {
		t.Run(text, func(t *testing.T) {
			got, err := parseFault(text)
			require.ErrorContains(t, err, says)
			assert.Zero(t, got)
		})
	}
}

func FuzzFault(f *testing.F) {
	for _, text := range []string{
		"", "RegisterThing", "RegisterThing:reject=429:count=3", "RegisterThing:reject=403:code=ACCESS_DENIED:message=no",
		"Connect:delay=1.5s:drop", "Subscribe:reject=128:disconnect", "CreateKeysAndCertificate:duplicate",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFault(text)
		if err != nil {
			assert.Zero(t, got)
			return
		}
		assert.Contains(t, operations, got.op)
		assert.Positive(t, got.count)
		assert.LessOrEqual(t, got.count, maxCount)
		assert.GreaterOrEqual(t, got.fault.Delay, time.Duration(0))
		if got.fault.Reject != nil {
			assert.Positive(t, got.fault.Reject.StatusCode)
		}
	})
}
