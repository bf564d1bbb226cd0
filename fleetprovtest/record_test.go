package fleetprovtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

func TestRequestsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, listener := onPipes(t)
		defer closeServer(t, server)
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
			{Op: "Connect", ClientID: "device-1", Time: start, KeepAlive: time.Minute, CleanSession: true, ProtocolVersion: 4},
			{Op: "Subscribe", ClientID: "device-1", Time: start.Add(time.Second), Filters: []string{
				"$aws/certificates/create/json/accepted",
				"$aws/certificates/create/json/rejected",
			}},
			{Op: "CreateKeysAndCertificate", ClientID: "device-1", Time: start.Add(2 * time.Second),
				Topic: "$aws/certificates/create/json", Payload: []byte("{}")},
		}, requests)
	})
}

func TestRequestsMayBeBounded(t *testing.T) {
	server := fleetprovtest.NewUnstartedServer()
	server.MaxRequests = 2
	server.Start()
	defer closeServer(t, server)
	for _, id := range []string{"device-1", "device-2", "device-3"} {
		connectAs(t, server, server.ClaimCertificate(), id)
	}
	requests := server.Requests()
	require.Len(t, requests, 2)
	assert.Equal(t, "device-2", requests[0].ClientID)
	assert.Equal(t, "device-3", requests[1].ClientID)
}

func TestRecordsAreCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, withTemplates("fleet", thingTemplate(`,"AttributePayload":{"a":"1"},"ThingGroups":["x"]`, "")))
		d.enrol("fleet", `{"ThingName":"device-1"}`)

		requests, certificates, things := d.server.Requests(), d.server.Certificates(), d.server.Things()
		requests[0].ClientID = "changed"
		requests[1].Filters[0] = "changed"
		requests[2].Payload[0] = 'x'
		certificates[0].Status = "changed"
		things[0].Parameters["ThingName"] = "changed"
		things[0].CertificateIDs[0] = "changed"
		things[0].Attributes["a"] = "changed"
		things[0].Groups[0] = "changed"

		requests = d.server.Requests()
		assert.Equal(t, "fleetprov-enrolling", requests[0].ClientID)
		assert.Equal(t, csrTopic+"/accepted", requests[1].Filters[0])
		assert.Equal(t, byte('{'), requests[2].Payload[0])
		assert.Equal(t, "ACTIVE", d.server.Certificates()[0].Status)
		assert.Equal(t, []fleetprovtest.Thing{{
			Name:           "device-1",
			Parameters:     map[string]string{"ThingName": "device-1"},
			CertificateIDs: []string{certificates[0].ID},
			Attributes:     map[string]string{"a": "1"},
			Groups:         []string{"x"},
		}}, d.server.Things())
	})
}
