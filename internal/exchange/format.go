package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Format is a payload format of the API. Its name is the last level of a request topic,
// and decides the format of the request and of its answers.
type Format struct {
	Name      string
	Marshal   func(fields map[string]any) ([]byte, error) // of strings, and maps of strings
	Unmarshal func([]byte, any) error
}

// JSON is the format of the topics that end in /json.
var JSON = Format{
	Name:      "json",
	Marshal:   func(fields map[string]any) ([]byte, error) { return json.Marshal(fields) },
	Unmarshal: unmarshalJSON,
}

// unmarshalJSON is like json.Unmarshal, but keeps all digits of a number: a configuration
// value may be an identifier that is too long for a float64.
func unmarshalJSON(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(v); err != nil {
		return err
	}
	if len(bytes.TrimSpace(data[decoder.InputOffset():])) > 0 {
		return errors.New("there is data after the JSON value")
	}
	return nil
}
