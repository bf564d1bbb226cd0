package main

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestSettings(t *testing.T) {
	defaults := func() settings {
		return settings{
			addr:         "127.0.0.1:8883",
			dir:          "sim",
			password:     "password",
			templateName: "fleet-template",
			templates:    map[string]string{},
			policies:     map[string]string{},
			quotas:       map[fleetprovtest.Op]fleetprovtest.Quota{},
			clientQuotas: map[fleetprovtest.Op]fleetprovtest.Quota{},
		}
	}
	for _, test := range []struct {
		name string
		args []string
		want func(*settings)
	}{
		{"no flag is needed", nil, func(*settings) {}},
		{"all interfaces are localhost, too", []string{"-addr", ":8883"},
			func(s *settings) { s.addr = ":8883" }},
		{"any address goes with a name", []string{"-addr", "192.0.2.1:443", "-sni", "iot.factory.example", "-sni", "iot"},
			func(s *settings) { s.addr, s.serverNames = "192.0.2.1:443", []string{"iot.factory.example", "iot"} }},
		{"a password may be empty", []string{"-password", ""},
			func(s *settings) { s.password = "" }},
		{"documents are files", []string{"-template", "t.json", "-template", "U=u.json", "-template-name", "T", "-claim-policy", "c.json", "-device-policy", "d.json", "-policy", "p=p.json", "-policy", "q=a=b"},
			func(s *settings) {
				s.template, s.templateName, s.claimPolicy, s.devicePolicy = "t.json", "T", "c.json", "d.json"
				s.templates = map[string]string{"U": "u.json"}
				s.policies = map[string]string{"p": "p.json", "q": "a=b"}
			}},
		{"the last quota of an operation counts", []string{"-quota", "Connect=1", "-quota", "Connect=2"},
			func(s *settings) { s.quotas[fleetprovtest.OpConnect] = fleetprovtest.Quota{PerSecond: 2} }},
		{"aws is the quotas of an account, which others change", []string{"-quota", "aws", "-quota", "RegisterThing=1:429"},
			func(s *settings) {
				s.quotas = fleetprovtest.AWSQuotas()
				s.quotas[fleetprovtest.OpRegisterThing] = fleetprovtest.Quota{PerSecond: 1, Answer: fleetprovtest.Answer429}
			}},
		{"a client id has quotas of its own", []string{"-client-quota", "Connect=0.1"},
			func(s *settings) { s.clientQuotas[fleetprovtest.OpConnect] = fleetprovtest.Quota{PerSecond: 0.1} }},
		{"faults keep their order", []string{"-fault", "Connect:count=2", "-fault", "Connect:drop"},
			func(s *settings) {
				s.faults = []injection{
					{fleetprovtest.OpConnect, fleetprovtest.Fault{}, 2},
					{fleetprovtest.OpConnect, fleetprovtest.Fault{Drop: true}, 1},
				}
			}},
		{"-alpn and -suback take no value", []string{"-alpn", "-suback"},
			func(s *settings) { s.alpn, s.suback = true, true }},
		{"what AWS leaves open can be chosen", []string{"-require-subscription", "-refusal", "handshake", "-activation-lag", "20s", "-validity", "24h", "-single-use-tokens"},
			func(s *settings) {
				s.subscription, s.singleUse, s.refusal = true, true, fleetprovtest.RefuseInHandshake
				s.activationLag, s.validity = 20*time.Second, 24*time.Hour
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := defaults()
			test.want(&want)
			got, err := readSettings(test.args, io.Discard)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}
