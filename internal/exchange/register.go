package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Registered is what AWS IoT says of a thing that it has registered. Both fields may be
// empty.
type Registered struct {
	ThingName           string
	DeviceConfiguration map[string]string // a value that is not a string is JSON text
}

// RegisterThing registers the certificate of token against the template of topic.
//
// Once AWS has accepted, Registered is not nil even if there is an error: the
// certificate is active, whatever the answer looks like.
func (c *Client) RegisterThing(ctx context.Context, topic, token string, parameters map[string]string) (*Registered, error) {
	request := map[string]any{"certificateOwnershipToken": token}
	if len(parameters) > 0 {
		request["parameters"] = parameters
	}
	payload, err := c.Format.Marshal(request)
	if err != nil {
		return nil, err
	}
	accepted, err := c.request(ctx, topic, payload)
	if err != nil {
		return nil, withoutToken(err, token)
	}
	var answer struct {
		ThingName           string         `json:"thingName"`
		DeviceConfiguration map[string]any `json:"deviceConfiguration"`
	}
	// A field of a wrong type does not keep the others from being decoded.
	var errs []error
	if err := c.Format.Unmarshal(accepted, &answer); err != nil {
		errs = append(errs, err)
	}
	configuration, err := texts(answer.DeviceConfiguration)
	if err != nil {
		errs = append(errs, fmt.Errorf("deviceConfiguration: %w", err))
	}
	registered := &Registered{answer.ThingName, configuration}
	if errs = append(errs, registered.bound()...); len(errs) == 0 {
		return registered, nil
	}
	var b strings.Builder
	for _, err := range errs {
		fmt.Fprintf(&b, "; %.200s", err)
	}
	return registered, badResponse("%s", b.String()[2:])
}

// The bounds of what is kept of a registration. In credentials it is JSON inside PEM,
// which takes 8 bytes for 6, and a store may refuse a file of more than 1 MiB, as
// DirStore does: 128 KB of control characters are 768 KB as JSON.
const (
	maxConfiguration = 512 << 10 // bytes of JSON
	maxThingName     = 1 << 10   // bytes; AWS IoT takes 128
)

// bound leaves out what would make the credentials too large to be stored, and says
// so.
func (r *Registered) bound() (errs []error) {
	if length := len(r.ThingName); length > maxThingName {
		r.ThingName = ""
		errs = append(errs, fmt.Errorf("thingName has %d bytes: it is left out", length))
	}
	text, err := json.Marshal(r.DeviceConfiguration)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("deviceConfiguration: %w", err))
	case len(text) > maxConfiguration:
		r.DeviceConfiguration = nil
		errs = append(errs, fmt.Errorf("deviceConfiguration has %d bytes as JSON, where < and control characters take 6, and %d can be stored: it is left out", len(text), maxConfiguration))
	}
	return errs
}

// withoutToken removes the ownership token from a rejection that repeats it.
func withoutToken(err error, token string) error {
	if r := new(Rejection); errors.As(err, &r) {
		r.Message = strings.ReplaceAll(r.Message, token, "[ownership token]")
		r.Code = strings.ReplaceAll(r.Code, token, "[ownership token]")
	}
	return err
}

func texts(values map[string]any) (map[string]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	var err error
	texts := make(map[string]string, len(values))
	for key, value := range values {
		if text, ok := value.(string); ok {
			texts[key] = text
			continue
		}
		text, e := json.Marshal(value)
		if e != nil {
			err = e
			continue
		}
		texts[key] = string(text)
	}
	return texts, err
}
