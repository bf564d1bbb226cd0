// Command byhand is provisioned by hand: an MQTT library, crypto/tls and encoding/json,
// a claim in PEM, and no second try.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func main() {
	claim, err := tls.LoadX509KeyPair(os.Getenv("CLAIM_CERTIFICATE"), os.Getenv("CLAIM_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	root, err := os.ReadFile(os.Getenv("ROOT_CA"))
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)

	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + os.Getenv("ENDPOINT")).
		SetClientID(os.Getenv("SERIAL_NUMBER")).
		SetTLSConfig(&tls.Config{Certificates: []tls.Certificate{claim}, RootCAs: roots}))
	wait(client.Connect())
	defer client.Disconnect(250)

	var certificate struct {
		Token string `json:"certificateOwnershipToken"`
	}
	request(client, "$aws/certificates/create/json", struct{}{}, &certificate)
	var registered struct {
		ThingName string `json:"thingName"`
	}
	request(client, "$aws/provisioning-templates/"+os.Getenv("TEMPLATE")+"/provision/json", map[string]any{
		"certificateOwnershipToken": certificate.Token,
		"parameters":                map[string]string{"SerialNumber": os.Getenv("SERIAL_NUMBER")},
	}, &registered)
	fmt.Println(registered.ThingName)
}

// request publishes parameters as JSON, and reads what is accepted into answer.
func request(client mqtt.Client, topic string, parameters, answer any) {
	accepted := make(chan []byte, 1)
	wait(client.Subscribe(topic+"/accepted", 1, func(_ mqtt.Client, m mqtt.Message) { accepted <- m.Payload() }))
	wait(client.Subscribe(topic+"/rejected", 1, func(_ mqtt.Client, m mqtt.Message) { log.Fatalf("%s", m.Payload()) }))
	payload, err := json.Marshal(parameters)
	if err != nil {
		log.Fatal(err)
	}
	wait(client.Publish(topic, 1, false, payload))
	select {
	case payload := <-accepted:
		if err := json.Unmarshal(payload, answer); err != nil {
			log.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		log.Fatal("no answer on ", topic)
	}
}

func wait(token mqtt.Token) {
	if token.Wait(); token.Error() != nil {
		log.Fatal(token.Error())
	}
}
