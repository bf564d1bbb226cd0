package exchange

import (
	"context"
	"encoding/json"
	"errors"
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
	// The other fields are decoded even if one has the wrong type.
	err = c.Format.Unmarshal(accepted, &answer)
	if err != nil {
		err = badResponse("%w", err)
	}
	configuration, textErr := texts(answer.DeviceConfiguration)
	if textErr != nil {
		err = badResponse("deviceConfiguration: %w", textErr)
	}
	return &Registered{answer.ThingName, configuration}, err
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
