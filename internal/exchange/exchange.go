// Package exchange speaks the device provisioning MQTT API of AWS IoT: it publishes a
// request, waits for the answer on .../accepted or .../rejected, and checks everything in
// it (AWS developer guide, "fleet-provision-api").
package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrBadResponse is wrapped by errors about an answer that is not what AWS IoT
// documents.
var ErrBadResponse = errors.New("the answer is not what AWS IoT documents")

// Session is a connection that is subscribed to the answers.
type Session interface {
	// Publish drops the messages that arrived before, and sends a request.
	Publish(ctx context.Context, topic string, payload []byte) error
	// Await returns the first message since then on either of two topics.
	Await(ctx context.Context, either, or string) (topic string, payload []byte, err error)
}

// Client makes requests over a session, in one payload format. Answers carry no
// correlation id, so only one request may be in progress at a time.
type Client struct {
	Session Session
	Format  Format

	// Sent says that the request of the next call has already been sent, with the
	// payload that the call would send.
	Sent bool
}

// request publishes payload to topic and returns AWS's answer if AWS accepted. If it
// rejected, the error is a [*Rejection].
func (c *Client) request(ctx context.Context, topic string, payload []byte) ([]byte, error) {
	if !c.Sent {
		if err := c.Session.Publish(ctx, topic, payload); err != nil {
			return nil, err
		}
	}
	answered, answer, err := c.Session.Await(ctx, topic+"/accepted", topic+"/rejected")
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(answered, "/rejected") {
		return nil, c.rejection(answer)
	}
	return answer, nil
}

func badResponse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadResponse}, args...)...)
}
