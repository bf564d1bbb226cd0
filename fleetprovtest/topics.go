package fleetprovtest

import (
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// format is the encoding of requests and answers, as topics name it.
type format string

const (
	formatJSON format = "json"
	formatCBOR format = "cbor"
)

// operation is what a topic for provisioning requests means (fleet-provision-api).
type operation struct {
	op       Op
	format   format
	template string // of RegisterThing
	topic    string // of requests; answers come on topic/accepted and topic/rejected
}

// parseRequestTopic returns the operation of a topic, and whether it is one that
// requests are published to.
func parseRequestTopic(topic string) (operation, bool) {
	o := operation{topic: topic}
	head, last := cutLast(topic)
	o.format = format(last)
	if o.format != formatJSON && o.format != formatCBOR {
		return operation{}, false
	}
	switch head {
	case "$aws/certificates/create":
		o.op = OpCreateKeysAndCertificate
		return o, true
	case "$aws/certificates/create-from-csr":
		o.op = OpCreateCertificateFromCSR
		return o, true
	}
	name, ok := strings.CutPrefix(head, "$aws/provisioning-templates/")
	if !ok {
		return operation{}, false
	}
	name, ok = strings.CutSuffix(name, "/provision")
	if !ok || !iotregistry.ValidTemplateName(name) {
		return operation{}, false
	}
	o.op, o.template = OpRegisterThing, name
	return o, true
}

// cutLast separates a topic from its last level.
func cutLast(topic string) (head, last string) {
	if i := strings.LastIndexByte(topic, '/'); i >= 0 {
		return topic[:i], topic[i+1:]
	}
	return "", topic
}
