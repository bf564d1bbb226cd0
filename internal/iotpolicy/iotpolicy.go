// Package iotpolicy evaluates AWS IoT policy documents: with which client id a
// device may connect, and which topics it may publish to, subscribe to and
// receive from. [Parse] reads a document, and [Allowed] decides about one
// request.
//
// The rules are those of the AWS IoT developer guide ("iot-policies",
// "iot-policy-actions", "iot-action-resources", "iot-policy-variables",
// "pub-sub-policy") and, where it says that AWS IoT follows IAM, those of the
// IAM user guide ("reference_policies_grammar" and the pages about each
// element).
//
// The region and the account of a resource are not compared, so documents with
// placeholders there can be evaluated as they are. The condition operators are
// Bool and those for IP addresses and for strings, and ForAllValues: and ForAnyValue: may
// come before the last. [Parse] refuses other operators, NotAction and NotResource, and
// variables that have no value here, all of which would be evaluated wrongly. Statements
// about actions or resources of other services are accepted with any condition, and do not
// matter.
package iotpolicy

// Action is an operation that a policy allows or denies.
type Action string

// The actions that AWS IoT checks on an MQTT connection ("iot-policy-actions").
// A message with the RETAIN flag needs RetainPublish besides Publish
// ("retained-message-policy-examples").
const (
	Connect       Action = "iot:Connect"       // of a client id, once
	Publish       Action = "iot:Publish"       // to a topic, for each message
	RetainPublish Action = "iot:RetainPublish" // to a topic, for each message to retain
	Receive       Action = "iot:Receive"       // from a topic, for each message delivered
	Subscribe     Action = "iot:Subscribe"     // to a topic filter, once
)

// Request is what a connection asks for.
type Request struct {
	Action Action

	// Resource is the part of the resource's ARN after the account, for
	// example client/ID for Connect, topic/TOPIC for Publish, RetainPublish and
	// Receive, and topicfilter/FILTER for Subscribe ("iot-action-resources").
	Resource string

	// Variables are the values of policy variables, by name, for example
	// iot:ClientId and iot:Connection.Thing.ThingName. A variable that has no
	// value is left out, such as the thing name of a certificate that is attached
	// to no thing.
	Variables map[string]string

	// Values are the values of the condition keys that can have several, by
	// name. AWS IoT has iot:ConnectAttributes, for Connect: PersistentConnect if
	// the client asks for a persistent session, and LastWill if there is a will
	// ("mqtt", "Using connectAttributes"). Only conditions with ForAllValues: or
	// ForAnyValue: see them; they are not variables.
	Values map[string][]string
}

// Allowed reports whether the documents together allow the request: at least one
// statement allows it, and none denies it ("iot-policies").
func Allowed(documents []*Document, request Request) bool {
	allowed := false
	for _, document := range documents {
		for _, statement := range document.statements {
			switch {
			case !statement.appliesTo(request):
			case statement.deny:
				return false
			default:
				allowed = true
			}
		}
	}
	return allowed
}
