package interop_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"path"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/testca"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// mosquittoResponder is a client that answers provisioning requests the way
// AWS IoT does. It has no policies and no lifetimes, and all subscribers get
// its answers.
type mosquittoResponder struct {
	ca *testca.CA

	mu      sync.Mutex
	pending map[string]bool // ownership tokens
	last    mosquittoCertificate
}

type mosquittoCertificate struct{ id, pem string }

// mosquittoRequest has the members of all three requests.
type mosquittoRequest struct {
	CSR        string            `json:"certificateSigningRequest"`
	Token      string            `json:"certificateOwnershipToken"`
	Parameters map[string]string `json:"parameters"`
}

// mosquittoAnswer has the members of an answer.
type mosquittoAnswer map[string]any

func mosquittoRejection(statusCode int, errorCode, errorMessage string) (answer mosquittoAnswer, accepted bool) {
	return mosquittoAnswer{"statusCode": statusCode, "errorCode": errorCode, "errorMessage": errorMessage}, false
}

// startMosquittoResponder returns once the responder is subscribed. It ends
// with the test.
func startMosquittoResponder(t *testing.T, broker *mosquitto) *mosquittoResponder {
	t.Helper()
	r := &mosquittoResponder{ca: broker.ca, pending: make(map[string]bool)}
	// The request topics of the AWS developer guide, "fleet-provision-api".
	operations := map[string]func(mosquittoRequest) (answer mosquittoAnswer, accepted bool){
		"$aws/certificates/create/json":                            r.createKeysAndCertificate,
		"$aws/certificates/create/cbor":                            r.createKeysAndCertificate,
		"$aws/certificates/create-from-csr/json":                   r.createCertificateFromCSR,
		"$aws/certificates/create-from-csr/cbor":                   r.createCertificateFromCSR,
		"$aws/provisioning-templates/test-template/provision/json": r.registerThing,
		"$aws/provisioning-templates/test-template/provision/cbor": r.registerThing,
	}
	filters := make(map[string]byte)
	for topic := range operations {
		filters[topic] = 1
	}

	client := broker.connect(t, "responder", broker.clientConfig("responder"))
	token := client.SubscribeMultiple(filters, func(client mqtt.Client, request mqtt.Message) {
		unmarshal, marshal := json.Unmarshal, json.Marshal
		if path.Base(request.Topic()) == "cbor" {
			unmarshal, marshal = cbor.Unmarshal, cbor.Marshal
		}
		var in mosquittoRequest
		answer, accepted := mosquittoRejection(400, "InvalidPayload", "the payload cannot be read")
		// CreateKeysAndCertificate is requested with an empty payload.
		if len(request.Payload()) == 0 || unmarshal(request.Payload(), &in) == nil {
			answer, accepted = operations[request.Topic()](in)
		}
		topic := request.Topic() + "/rejected"
		if accepted {
			topic = request.Topic() + "/accepted"
		}
		payload, err := marshal(answer)
		if err != nil {
			panic(err)
		}
		client.Publish(topic, 1, false, payload)
	})
	require.True(t, token.WaitTimeout(10*time.Second))
	require.NoError(t, token.Error())
	for topic, code := range token.(*mqtt.SubscribeToken).Result() {
		require.EqualValues(t, 1, code, "subscribing to %s", topic)
	}
	return r
}

func (r *mosquittoResponder) createKeysAndCertificate(mosquittoRequest) (mosquittoAnswer, bool) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	answer := r.issue(key.Public())
	answer["privateKey"] = string(provtest.PEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	return answer, true
}

func (r *mosquittoResponder) createCertificateFromCSR(request mosquittoRequest) (mosquittoAnswer, bool) {
	block, _ := pem.Decode([]byte(request.CSR))
	if block == nil {
		return mosquittoRejection(400, "InvalidCertificateSigningRequest", "no PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return mosquittoRejection(400, "InvalidCertificateSigningRequest", err.Error())
	}
	return r.issue(csr.PublicKey), true
}

// issue makes a certificate that has to be registered with its token.
func (r *mosquittoResponder) issue(public crypto.PublicKey) mosquittoAnswer {
	certificate, err := r.ca.Issue("AWS IoT Certificate", testca.Validity{}, public)
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256(certificate.Raw)
	issued := mosquittoCertificate{hex.EncodeToString(digest[:]), string(provtest.PEM("CERTIFICATE", certificate.Raw))}
	token := rand.Text()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = issued
	r.pending[token] = true
	return mosquittoAnswer{
		"certificateId":             issued.id,
		"certificatePem":            issued.pem,
		"certificateOwnershipToken": token,
	}
}

// registerThing takes each token once, and no serial number but 0001.
func (r *mosquittoResponder) registerThing(request mosquittoRequest) (mosquittoAnswer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.pending[request.Token] {
		return mosquittoRejection(400, "InvalidCertificateOwnershipToken", "no such token")
	}
	if request.Parameters["SerialNumber"] != "0001" {
		return mosquittoRejection(403, "ACCESS_DENIED", "no such serial number")
	}
	delete(r.pending, request.Token)
	return mosquittoAnswer{
		"thingName":           "device-0001",
		"deviceConfiguration": map[string]string{"telemetryIntervalSeconds": "60"},
	}, true
}

// lastIssued is the certificate most recently issued.
func (r *mosquittoResponder) lastIssued() mosquittoCertificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
