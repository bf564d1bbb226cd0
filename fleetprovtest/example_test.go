package fleetprovtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// deviceUnderTest is the firmware of the examples: a Provisioner that does not
// wait long before it tries again.
func deviceUnderTest(server *fleetprovtest.Server, opts ...fleetprov.Option) *fleetprov.Provisioner {
	claim, err := fleetprov.ParsePFX(server.ClaimPFX("password"), "password")
	if err != nil {
		log.Fatal(err)
	}
	opts = append(opts, fleetprov.WithGeneratedKey(), fleetprov.WithBackoff(time.Millisecond, 5*time.Millisecond))
	device, err := fleetprov.New(server.Endpoint(), "test-template", claim, opts...)
	if err != nil {
		log.Fatal(err)
	}
	return device
}

// A test starts the endpoint, lets the device provision itself, and looks at what
// has become of it.
func Example() {
	server := fleetprovtest.NewServer()
	defer server.Close()

	device := deviceUnderTest(server)
	credentials, err := device.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("the device believes that it is", credentials.ThingName)
	for _, thing := range server.Things() {
		fmt.Println("registered:", thing.Name, thing.Parameters)
	}
	for _, certificate := range server.Certificates() {
		fmt.Println("certificate of", certificate.ThingName, "is", certificate.Status)
	}
	// Output:
	// the device believes that it is 12345
	// registered: 12345 map[SerialNumber:12345]
	// certificate of 12345 is ACTIVE
}

// A fleet that is switched on at once meets the quotas of its AWS account. The
// device has to try again, with the certificate that it was given.
func ExampleServer_Inject_throttled() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	for range 2 {
		server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{
			Reject: &fleetprovtest.Rejection{StatusCode: 429, Code: "TooManyRequests"},
		})
	}

	device := deviceUnderTest(server)
	credentials, err := device.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("provisioned:", credentials.ThingName)
	fmt.Println("certificates:", len(server.Certificates()))
	fmt.Println("registrations:", count(server, fleetprovtest.OpRegisterThing))
	// Output:
	// provisioned: 12345
	// certificates: 1
	// registrations: 3
}

// count tells how often the device has asked for an operation.
func count(server *fleetprovtest.Server, op fleetprovtest.Op) int {
	n := 0
	for _, request := range server.Requests() {
		if request.Op == op {
			n++
		}
	}
	return n
}

// A pre-provisioning hook that does not know the device refuses it. Nothing is
// gained by trying again.
func ExampleServer_hook() {
	server := fleetprovtest.NewUnstartedServer()
	server.Hook = func(r fleetprovtest.HookRequest) fleetprovtest.HookResponse {
		return fleetprovtest.HookResponse{AllowProvisioning: r.Parameters["SerialNumber"] != "12345"}
	}
	server.Start()
	defer server.Close()

	device := deviceUnderTest(server)
	_, err := device.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})

	var rejected *fleetprov.RejectedError
	if errors.As(err, &rejected) {
		fmt.Println("status:", rejected.StatusCode)
	}
	fmt.Println("retryable:", fleetprov.Retryable(err))
	fmt.Println("things:", len(server.Things()))
	// Output:
	// status: 403
	// retryable: false
	// things: 0
}

// The network fails when the certificate is issued and the answer is on its way.
// The device asks for another one; AWS deletes the first, which nobody has
// registered, after an hour.
func ExampleServer_Inject_connectionLost() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	server.Inject(fleetprovtest.OpCreateCertificateFromCSR, fleetprovtest.Fault{Disconnect: true})

	device := deviceUnderTest(server)
	credentials, err := device.Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}

	for _, certificate := range server.Certificates() {
		fmt.Println(certificate.Status, "held by the device:", certificate.ID == credentials.CertificateID)
	}
	server.Advance(time.Hour)
	fmt.Println("an hour later:", len(server.Certificates()))
	// Output:
	// PENDING_ACTIVATION held by the device: false
	// ACTIVE held by the device: true
	// an hour later: 1
}

// A device is switched off between two steps, and comes back when its ownership
// token has expired. It has to begin again.
func ExampleServer_Advance() {
	server := fleetprovtest.NewServer()
	defer server.Close()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, parameters := fleetprov.DirStore(dir), map[string]string{"SerialNumber": "12345"}

	server.Inject(fleetprovtest.OpRegisterThing, fleetprovtest.Fault{
		Reject: &fleetprovtest.Rejection{StatusCode: 500, Code: "InternalFailure"},
	})
	if _, err := deviceUnderTest(server, fleetprov.WithMaxAttempts(1)).Ensure(context.Background(), store, parameters); err == nil {
		log.Fatal("it should have failed")
	}

	server.Advance(time.Hour)
	credentials, err := deviceUnderTest(server).Ensure(context.Background(), store, parameters)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("provisioned:", credentials.ThingName)
	for _, request := range server.Requests() {
		if request.Topic != "" {
			fmt.Println(request.Op)
		}
	}
	// Output:
	// provisioned: 12345
	// CreateCertificateFromCsr
	// RegisterThing
	// RegisterThing
	// CreateCertificateFromCsr
	// RegisterThing
}

// A device that is provisioned connects with its certificate, under a policy as
// fleets have it, until an operator deactivates the certificate.
func ExampleServer_UpdateCertificate() {
	server := fleetprovtest.NewUnstartedServer()
	server.DevicePolicy = `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}"},
		{"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/devices/${iot:Connection.Thing.ThingName}/*"}
	]}`
	server.Start()
	defer server.Close()

	credentials, err := deviceUnderTest(server).Provision(context.Background(), map[string]string{"SerialNumber": "12345"})
	if err != nil {
		log.Fatal(err)
	}
	config, err := credentials.TLSConfig()
	if err != nil {
		log.Fatal(err)
	}

	lost := make(chan struct{})
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + credentials.Endpoint).
		SetTLSConfig(config).
		SetProtocolVersion(4).
		SetClientID(credentials.ThingName).
		SetAutoReconnect(false).
		SetConnectionLostHandler(func(mqtt.Client, error) { close(lost) }))
	const patience = 10 * time.Second
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		log.Fatal("connect: ", token.Error())
	}
	if token := client.Publish("devices/12345/telemetry", 1, false, "21"); !token.WaitTimeout(patience) || token.Error() != nil {
		log.Fatal("publish: ", token.Error())
	}
	fmt.Println("published as", credentials.ThingName)

	if err := server.UpdateCertificate(credentials.CertificateID, fleetprovtest.StatusInactive); err != nil {
		log.Fatal(err)
	}
	select {
	case <-lost:
		fmt.Println("dropped")
	case <-time.After(patience):
		fmt.Println("still connected")
	}
	// Output:
	// published as 12345
	// dropped
}
