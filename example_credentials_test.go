package fleetprov_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// The device connects with the MQTT client of its choice, under its thing name.
func ExampleCredentials_TLSConfig() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	credentials := exampleCredentials(server)

	config, err := credentials.TLSConfig()
	if err != nil {
		log.Fatal(err)
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + credentials.Endpoint).
		SetClientID(credentials.ThingName).
		SetTLSConfig(config))
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	defer client.Disconnect(0)
	token := client.Publish("devices/"+credentials.ThingName+"/telemetry", 1, false, `{"temperature":21}`)
	if token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	fmt.Println("published as", credentials.ThingName)
	// Output: published as 12345
}

// One file has all in it. Programs that read a certificate and a key as PEM files
// take it for both.
func ExampleCredentials_MarshalPEM() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	data, err := exampleCredentials(server).MarshalPEM()
	if err != nil {
		log.Fatal(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		fmt.Println(block.Type)
	}

	credentials, err := fleetprov.ParseCredentials(data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(credentials.ThingName)
	// Output:
	// FLEETPROV METADATA
	// CERTIFICATE
	// PRIVATE KEY
	// 12345
}

// exampleCredentials are those of a device provisioned at server.
func exampleCredentials(server *fleetprovtest.Server) *fleetprov.Credentials {
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := fleetprov.New(server.Endpoint(), "test-template", claim)
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := provisioner.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}
	return credentials
}
