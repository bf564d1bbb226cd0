package diagnosis

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

// Hints say what to check when one step fails, for each way in which it can. Each
// step has a type of its own, so that none can be given the advice of another.
type Hints interface {
	Closed() string                      // the server closed the connection without a word
	Silent() string                      // there was no answer in time
	Refused() string                     // the server refused the certificate, in TLS or in CONNACK
	Rejected(*exchange.Rejection) string // AWS answered on the rejected topic
	BadAnswer() string                   // the server answered what AWS IoT does not document

	Connects() bool // whether the step waits for CONNACK
}

const (
	// AWS developer guide, "mqtt": an action the policy does not allow.
	closed = "AWS IoT closes a connection without a word when the policy forbids an action: check that the certificate's policy allows "

	receive = "check the network, and that the certificate's policy allows iot:Receive on topic/"

	registered = "check that it is registered and active in the account and region of the endpoint"

	undocumented = "AWS IoT documents no such answer"

	report = "check the endpoint and its port, and report it with the log if they are right"
)

// Client is the MQTT client id of a connection.
type Client struct {
	ID     string
	Fixed  bool // the caller chose it, for every connection
	Device bool // it is the one of the device's own session
}

// resource is the client id as a policy names it.
func (c Client) resource() string { return "client/" + plain(c.ID) }

// plain is text as it is if nothing in it could mislead, or else quoted.
func plain(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// taken says who else may have ended the connection: AWS IoT ends one when another
// comes under the same client id (AWS developer guide, "mqtt").
func (c Client) taken() string {
	switch {
	case c.Device:
		return "; a connection also ends when another one comes under the same client id, " + plain(c.ID) + ", which is that of the device's own session: close that first"
	case c.Fixed:
		return "; a connection also ends when another one comes under the same client id, " + plain(c.ID) + ": give each device one of its own, or do without WithClientID"
	default:
		return ""
	}
}

// Connect is opening a connection with the claim.
type Connect struct{ Client Client }

// Closed implements [Hints]. AWS IoT was seen to close for each of these reasons, but for
// the last, which its quota of CONNECT makes likely.
func (c *Connect) Closed() string {
	return "AWS IoT mostly closes a connection here when the certificate is not registered in the account and region of the endpoint, is not active or has no policy, " +
		"when its policy does not allow iot:Connect on " + c.Client.resource() + ", or when too many devices connect at once" + c.Client.taken()
}

// Silent implements [Hints].
func (*Connect) Silent() string { return "check the network, the endpoint and its port" }

// Refused implements [Hints].
func (c *Connect) Refused() string {
	return registered + ", and that its policy allows iot:Connect on " + c.Client.resource()
}

// Rejected implements [Hints]. Nothing is rejected before a request.
func (*Connect) Rejected(*exchange.Rejection) string { return undocumented }

// BadAnswer implements [Hints].
func (*Connect) BadAnswer() string { return report }

// Connects implements [Hints].
func (*Connect) Connects() bool { return true }

// Verify is connecting with the certificate that was registered.
type Verify struct {
	Client  Client
	NoThing bool // the answer to the registration had no thing name
}

// Closed implements [Hints].
func (v *Verify) Closed() string {
	return "AWS IoT mostly closes a connection here when the certificate is not active yet, when the template sets its Status to INACTIVE, " +
		"or when the device's policy does not allow iot:Connect on " + v.Client.resource() + v.thing() + v.Client.taken()
}

// Silent implements [Hints].
func (*Verify) Silent() string { return "check the network, the endpoint and its port" }

// Refused implements [Hints].
func (v *Verify) Refused() string {
	return "check that the template sets the certificate's Status to ACTIVE, and gives it a policy that allows iot:Connect on " + v.Client.resource() + v.thing()
}

func (v *Verify) thing() string {
	if !v.NoThing {
		return ""
	}
	return "; " + NoThing + ", and a policy that names the thing cannot allow anything"
}

// NoThing is what an answer without a thing name mostly means.
const NoThing = "the template has no AWS::IoT::Thing, so that the device has no thing name to connect under"

// Rejected implements [Hints]. Nothing is requested.
func (*Verify) Rejected(*exchange.Rejection) string { return undocumented }

// BadAnswer implements [Hints].
func (*Verify) BadAnswer() string { return report }

// Connects implements [Hints].
func (*Verify) Connects() bool { return true }

// Subscribe is asking for the answers. Its topics are patterns of a policy.
type Subscribe struct {
	Client           Client
	Create, Register string
	Pipelined        bool // whether the request for a certificate is sent with it
}

// Closed implements [Hints].
func (s *Subscribe) Closed() string {
	publish := ""
	if s.Pipelined {
		publish = ", and iot:Publish on topic/" + s.Create
	}
	return closed + "iot:Subscribe on topicfilter/" + s.Create + " and topicfilter/" + s.Register + publish +
		", and that the template has this name" + s.Client.taken()
}

// Silent implements [Hints].
func (*Subscribe) Silent() string { return "check the network" }

// Refused implements [Hints].
func (*Subscribe) Refused() string { return registered }

// Rejected implements [Hints]. Answers are not looked at in this step.
func (*Subscribe) Rejected(*exchange.Rejection) string { return undocumented }

// BadAnswer implements [Hints].
func (*Subscribe) BadAnswer() string { return report }

// Connects implements [Hints].
func (*Subscribe) Connects() bool { return false }

// Create is asking for a certificate.
type Create struct {
	Client    Client
	Topics    string // a pattern of a policy
	Pipelined bool
}

// Closed implements [Hints].
func (c *Create) Closed() string {
	return closed + "iot:Publish on topic/" + c.Topics + "; a throttled request may be closed too" + c.Client.taken()
}

// Silent implements [Hints].
func (c *Create) Silent() string {
	if c.Pipelined {
		return receive + c.Topics + ", or do without WithPipelining: the request may have been handled before the subscription"
	}
	return receive + c.Topics
}

// Refused implements [Hints].
func (*Create) Refused() string { return registered }

// Rejected implements [Hints].
func (c *Create) Rejected(r *exchange.Rejection) string {
	if advice := anywhere(r); advice != "" {
		return advice
	}
	switch r.StatusCode {
	case http.StatusForbidden:
		return "check that the certificate's policy allows iot:Publish on topic/" + c.Topics
	case http.StatusConflict:
		return "AWS IoT documents no conflict here: report it with the log"
	default:
		return "check the request and the account's limits"
	}
}

// BadAnswer implements [Hints]. Only RegisterThing makes it active.
func (*Create) BadAnswer() string { return report + "; no certificate is active yet" }

// Connects implements [Hints].
func (*Create) Connects() bool { return false }

// Register is registering with a template.
type Register struct {
	Client   Client
	Topics   string // a pattern of a policy
	Template string
}

// Closed implements [Hints].
func (r *Register) Closed() string {
	return closed + "iot:Publish on topic/" + r.Topics + "; a throttled request may be closed too" + r.Client.taken()
}

// Silent implements [Hints].
func (r *Register) Silent() string { return receive + r.Topics }

// Refused implements [Hints].
func (*Register) Refused() string { return registered }

// Rejected implements [Hints].
func (r *Register) Rejected(rejection *exchange.Rejection) string {
	if advice := anywhere(rejection); advice != "" {
		return advice
	}
	switch {
	case rejection.StatusCode == http.StatusForbidden:
		return "the pre-provisioning hook or the provisioning role of the template refused the device: their logs say why; a hook that fails, or takes longer than five seconds, refuses too, and one that lets a serial number register once, as that of examples/aws does, waits for the operator to release it"
	case rejection.StatusCode == http.StatusNotFound:
		return fmt.Sprintf("check that the template %q exists in the account and region of the endpoint", r.Template)
	case rejection.StatusCode == http.StatusConflict:
		return fmt.Sprintf("what the template %q is to make exists already with another type, other attributes or other groups: set OverrideSettings in the template, or change what exists", r.Template)
	case rejection.TokenRefused():
		return "the ownership token is not good any more: it lives for one hour"
	default:
		return fmt.Sprintf("check the parameters against those the template %q declares; an ownership token lives for one hour", r.Template)
	}
}

// BadAnswer implements [Hints].
func (*Register) BadAnswer() string {
	return report + "; the certificate is active if AWS IoT has accepted it"
}

// Connects implements [Hints].
func (*Register) Connects() bool { return false }

// anywhere is what a rejection means for any request, or "".
func anywhere(r *exchange.Rejection) string {
	switch {
	case r.Throttled():
		return "the account's quota is used up for the moment: try again later"
	case r.Conflicting():
		return "another change of the same thing is under way: try again later"
	case r.Internal():
		return "AWS failed inside: try again later"
	case r.StatusCode == http.StatusUnauthorized:
		return "AWS IoT does not accept the certificate for this request: check that it is active, and what its policy allows"
	default:
		return ""
	}
}

// Store is a call of the caller's store.
type Store struct{ Doing string }

// Closed implements [Hints]. There is no connection.
func (*Store) Closed() string { return "check the store" }

// Silent implements [Hints].
func (s *Store) Silent() string { return "check the store: " + s.Doing + " has not ended" }

// Refused implements [Hints]. There is no server.
func (*Store) Refused() string { return "check the store" }

// Rejected implements [Hints]. AWS has no part in it.
func (*Store) Rejected(*exchange.Rejection) string { return undocumented }

// BadAnswer implements [Hints]. There is no server.
func (*Store) BadAnswer() string { return "check the store" }

// Connects implements [Hints].
func (*Store) Connects() bool { return false }

// Keyring is asking for a private key that lives in hardware.
type Keyring struct{}

// Closed implements [Hints]. There is no connection.
func (*Keyring) Closed() string { return "check the keyring" }

// Silent implements [Hints].
func (*Keyring) Silent() string { return "check the keyring, which did not answer" }

// Refused implements [Hints]. There is no server.
func (*Keyring) Refused() string { return "check the keyring" }

// Rejected implements [Hints]. AWS has no part in it.
func (*Keyring) Rejected(*exchange.Rejection) string { return undocumented }

// BadAnswer implements [Hints]. There is no server.
func (*Keyring) BadAnswer() string { return "check the keyring" }

// Connects implements [Hints].
func (*Keyring) Connects() bool { return false }
