package fleetprovtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestRequestsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer server.Close()
		c := dialPipe(t, server, listener, "device-1")
		<-time.After(time.Second)
		c.subscribe(createTopic+"/accepted", createTopic+"/rejected")
		<-time.After(time.Second)
		c.request(createTopic, "{}")

		start := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
		requests := server.Requests()
		for i := range requests {
			requests[i].Time = requests[i].Time.UTC()
		}
		assert.Equal(t, []fleetprovtest.Request{
			{Op: "Connect", ClientID: "device-1", Time: start},
			{Op: "Subscribe", ClientID: "device-1", Time: start.Add(time.Second), Filters: []string{
				"$aws/certificates/create/json/accepted",
				"$aws/certificates/create/json/rejected",
			}},
			{Op: "CreateKeysAndCertificate", ClientID: "device-1", Time: start.Add(2 * time.Second),
				Topic: "$aws/certificates/create/json", Payload: []byte("{}")},
		}, requests)
	})
}

func TestRecordsAreCopies(t *testing.T) {
	server := fleetprovtest.NewServer()
	defer server.Close()
	c := connectClaim(t, server)
	c.provision(`{"SerialNumber":"SN-1"}`)

	requests, certificates, things := server.Requests(), server.Certificates(), server.Things()
	requests[1].Filters[0] = "changed"
	requests[3].Payload[0] = 'x'
	requests[0].ClientID = "changed"
	certificates[0].Status = "changed"
	things[0].Parameters["SerialNumber"] = "changed"
	things[0].CertificateIDs[0] = "changed"

	assert.Equal(t, flowFilters[0], server.Requests()[1].Filters[0])
	assert.Equal(t, byte('{'), server.Requests()[3].Payload[0])
	assert.Equal(t, "claim-"+t.Name(), server.Requests()[0].ClientID)
	assert.Equal(t, "ACTIVE", server.Certificates()[0].Status)
	assert.Equal(t, "SN-1", server.Things()[0].Parameters["SerialNumber"])
	assert.Equal(t, certificates[0].ID, server.Things()[0].CertificateIDs[0])
}
