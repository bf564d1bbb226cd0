package iotendpoint_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotendpoint"
)

func TestWhatAHostIs(t *testing.T) {
	type kind struct{ ip, aws, legacy bool }
	for endpoint, want := range map[string]kind{
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com":         {aws: true},
		"XXXXXXXX-ATS.IoT.eu-west-1.AmazonAWS.com.:443":    {aws: true},
		"xxxxxxxx.ats.iot.cn-north-1.amazonaws.com.cn":     {aws: true},
		"xxxxxxxx.iot.eu-west-1.amazonaws.com":             {aws: true, legacy: true},
		"xxxxxxxx.iot.eu-west-1.amazonaws.com.:8883":       {aws: true, legacy: true},
		"xxxxxxxx.iot.cn-north-1.amazonaws.com.cn":         {aws: true, legacy: true},
		"xxxxxxxx.iot.eu-west-1.example.com":               {},
		"iot.example.com":                                  {},
		"amazonaws.com":                                    {},
		"notamazonaws.com":                                 {},
		"xxxxxxxx-ats.iot.eu-west-1.amazonaws.com.example": {},
		"192.0.2.1":         {ip: true},
		"192.0.2.1:8883":    {ip: true},
		"[2001:db8::7]:443": {ip: true},
		"::1":               {ip: true},
		"localhost":         {},
		"192.0.2.example":   {},
	} {
		e, err := iotendpoint.Parse(endpoint)
		require.NoError(t, err)
		assert.Equal(t, want, kind{e.IsIP(), e.IsAWS(), e.IsLegacy()}, endpoint)
	}
}
