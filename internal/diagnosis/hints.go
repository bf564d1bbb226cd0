package diagnosis

import "fmt"

// Hints say what to check when one step fails, for each way in which it can. Each
// step has a type of its own, so that none can be given the advice of another.
type Hints interface {
	Closed() string             // the server closed the connection without a word
	Silent() string             // there was no answer in time
	Rejected(status int) string // AWS answered on the rejected topic
}

const (
	// AWS developer guide, "mqtt": an action the policy does not allow.
	closed = "AWS IoT closes a connection without a word when the policy forbids an action: check that the certificate's policy allows "

	receive = "check the network, and that the certificate's policy allows iot:Receive on topic/"
)

// Connect is opening a connection under a client id.
type Connect struct{ ClientID string }

// Closed implements [Hints].
func (c *Connect) Closed() string {
	return closed + "iot:Connect on client/" + c.ClientID + ", that the certificate is active, and that no other client uses this client id"
}

// Silent implements [Hints].
func (*Connect) Silent() string { return "check the network, the endpoint and its port" }

// Rejected implements [Hints]. Nothing is rejected before a request.
func (*Connect) Rejected(int) string { return undocumented }

const undocumented = "AWS IoT documents no such answer"

// Subscribe is asking for the answers. Its topics are patterns of a policy.
type Subscribe struct {
	Create, Register string
	Pipelined        bool // whether the request for a certificate is sent with it
}

// Closed implements [Hints].
func (s *Subscribe) Closed() string {
	publish := ""
	if s.Pipelined {
		publish = ", and iot:Publish on topic/" + s.Create
	}
	return closed + "iot:Subscribe on topicfilter/" + s.Create + " and topicfilter/" + s.Register + publish + ", and that the template has this name"
}

// Silent implements [Hints].
func (*Subscribe) Silent() string { return "check the network" }

// Rejected implements [Hints]. Answers are not looked at in this step.
func (*Subscribe) Rejected(int) string { return undocumented }

// Create is asking for a certificate.
type Create struct {
	Topics    string // a pattern of a policy
	Pipelined bool
}

// Closed implements [Hints].
func (c *Create) Closed() string { return closed + "iot:Publish on topic/" + c.Topics }

// Silent implements [Hints].
func (c *Create) Silent() string {
	if c.Pipelined {
		return receive + c.Topics + ", or do without WithPipelining: the request may have been handled before the subscription"
	}
	return receive + c.Topics
}

// Rejected implements [Hints].
func (*Create) Rejected(status int) string {
	return rejected(status, "check the request and the account's limits")
}

// Register is registering with a template.
type Register struct {
	Topics   string // a pattern of a policy
	Template string
}

// Closed implements [Hints].
func (r *Register) Closed() string {
	return closed + "iot:Publish on topic/" + r.Topics + "; a throttled request may be closed too"
}

// Silent implements [Hints].
func (r *Register) Silent() string { return receive + r.Topics }

// Rejected implements [Hints].
func (r *Register) Rejected(status int) string {
	switch status {
	case 403:
		return "the pre-provisioning hook or the provisioning role of the template refused the device: their logs say why; a hook that lets a serial number register once, as that of examples/aws does, lets in another certificate when the operator has released the serial number"
	case 404:
		return fmt.Sprintf("check that the template %q exists in the account and region of the endpoint", r.Template)
	default:
		return rejected(status, fmt.Sprintf("check the parameters against those the template %q declares; an ownership token lives for one hour", r.Template))
	}
}

// rejected is what a status means for any request, or else otherwise.
func rejected(status int, otherwise string) string {
	switch {
	case status == 429:
		return "the account's quota is used up for the moment: try again later"
	case status >= 500:
		return "AWS failed inside: try again later"
	default:
		return otherwise
	}
}

// Store is a call of the caller's store.
type Store struct{ Doing string }

// Closed implements [Hints]. There is no connection.
func (*Store) Closed() string { return "check the store" }

// Silent implements [Hints].
func (*Store) Silent() string { return "check the store, which did not answer" }

// Rejected implements [Hints]. AWS has no part in it.
func (*Store) Rejected(int) string { return undocumented }
