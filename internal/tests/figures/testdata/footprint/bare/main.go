// Command bare is an MQTT client on crypto/tls, with a claim in PEM. It asks for a
// certificate, prints what comes, and can do no more with it.
package main

import (
	"crypto/tls"
	"crypto/x509"
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

	const topic = "$aws/certificates/create/json"
	accepted := make(chan []byte, 1)
	wait(client.Subscribe(topic+"/accepted", 1, func(_ mqtt.Client, m mqtt.Message) { accepted <- m.Payload() }))
	wait(client.Publish(topic, 1, false, "{}"))
	select {
	case payload := <-accepted:
		os.Stdout.Write(payload)
	case <-time.After(30 * time.Second):
		log.Fatal("no answer on ", topic)
	}
}

func wait(token mqtt.Token) {
	if token.Wait(); token.Error() != nil {
		log.Fatal(token.Error())
	}
}
