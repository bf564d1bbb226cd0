package fleetprov

import "fmt"

// closed says what explains a connection that is closed in a step without a
// word (AWS developer guide, "mqtt": an action the policy does not allow).
func (r *run) closed(op Op) string {
	return "AWS IoT closes a connection without a word when the policy forbids an action: " + r.policy(op)
}

// policy names the statement that op needs in the policy of the certificate.
func (r *run) policy(op Op) string {
	const check = "check that the certificate's policy allows "
	switch op {
	case OpConnect, OpVerify:
		return fmt.Sprintf(check+"iot:Connect on client/%s, that the certificate is active, and that no other client uses this client id", r.clientID)
	case OpSubscribe:
		hint := fmt.Sprintf(check+"iot:Subscribe on topicfilter/%s and topicfilter/%s", r.createTopics(), r.registerTopics())
		if r.askedAhead() {
			hint += ", and iot:Publish on topic/" + r.createTopics()
		}
		return hint + ", and that the template has this name"
	case OpRegisterThing:
		return fmt.Sprintf(check+"iot:Publish on topic/%s; a throttled request may be closed too", r.registerTopics())
	default:
		return fmt.Sprintf(check+"iot:Publish on topic/%s", r.createTopics())
	}
}

// silent says what explains a step that is not answered.
func (r *run) silent(op Op) string {
	const receive = "check the network, and that the certificate's policy allows iot:Receive on topic/"
	switch op {
	case OpConnect, OpVerify:
		return "check the network, the endpoint and its port"
	case OpSubscribe:
		return "check the network"
	case OpStore:
		return "check the store, which did not answer"
	case OpRegisterThing:
		return receive + r.registerTopics()
	default:
		hint := receive + r.createTopics()
		if r.askedAhead() {
			hint += ", or do without WithPipelining: the request may have been handled before the subscription"
		}
		return hint
	}
}

// rejected says what to do about an operation that AWS rejected.
func (r *run) rejected(op Op, status int) string {
	switch {
	case status == 429:
		return "the account's quota is used up for the moment: try again later"
	case status >= 500:
		return "AWS failed inside: try again later"
	case op != OpRegisterThing:
		return "check the request and the account's limits"
	case status == 403:
		return "the pre-provisioning hook or the provisioning role of the template refused the device: their logs say why"
	case status == 404:
		return fmt.Sprintf("check that the template %q exists in the account and region of the endpoint", r.template)
	default:
		return fmt.Sprintf("check the parameters against those the template %q declares; an ownership token lives for one hour", r.template)
	}
}

func (r *run) createTopics() string {
	if r.deviceKey != nil {
		return "$aws/certificates/create-from-csr/*"
	}
	return "$aws/certificates/create/*"
}

func (r *run) registerTopics() string {
	return "$aws/provisioning-templates/" + r.template + "/provision/*"
}
