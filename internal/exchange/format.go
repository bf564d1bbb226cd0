package exchange

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
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
		return plainError(err)
	}
	if len(bytes.TrimSpace(data[decoder.InputOffset():])) > 0 {
		return errors.New("there is data after the JSON value")
	}
	return nil
}

// plainError says what is wrong with JSON in its own terms. Package json speaks of Go's
// types, which whoever reads the log of a device does not know.
func plainError(err error) error {
	var (
		kind   *json.UnmarshalTypeError
		syntax *json.SyntaxError
	)
	switch {
	case errors.As(err, &kind):
		what, _, _ := strings.Cut(kind.Value, " ") // a number may follow
		return fmt.Errorf("%s is %s, not %s", cmp.Or(kind.Field, "it"), cmp.Or(jsonKinds[what], "of another kind"), wanted(kind.Type))
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends in the middle")
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	default:
		return err
	}
}

// jsonKinds are the kinds of JSON values as package json names them.
var jsonKinds = map[string]string{
	"array": "an array", "bool": "true or false", "number": "a number", "object": "an object", "string": "text",
}

// wanted is the kind of JSON value that becomes a value of that type.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Int:
		return "a number that is whole"
	default:
		return "an object"
	}
}
