// Package strictjson decodes JSON documents in which a mistake must not pass
// unnoticed, such as policies and templates. Unlike encoding/json it refuses an object
// that has two members of the same name, as AWS does for policies (IAM,
// "reference_policies_grammar"); decoders disagree on which of the two counts.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Decode decodes a document, which must be a single JSON value. An object becomes a
// map[string]any, an array a []any, and a number a [json.Number], which keeps it as it
// is written; strings, Booleans and null become string, bool and nil.
func Decode(document []byte) (any, error) {
	// A decoder that reads token by token neither checks the syntax between tokens
	// nor bounds the depth of nesting. This does both, for the whole document.
	var valid json.RawMessage
	if err := json.Unmarshal(document, &valid); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(valid))
	decoder.UseNumber()
	return decodeValue(decoder)
}

func decodeValue(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return decodeObject(decoder)
	case json.Delim('['):
		return decodeArray(decoder)
	default:
		return token, nil
	}
}

func decodeObject(decoder *json.Decoder) (any, error) {
	members := make(map[string]any)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string) // the syntax has been checked
		value, err := decodeValue(decoder)
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%q is given twice", name)
		}
		members[name] = value
	}
	_, err := decoder.Token() // the closing brace
	return members, err
}

func decodeArray(decoder *json.Decoder) (any, error) {
	values := []any{}
	for decoder.More() {
		value, err := decodeValue(decoder)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	_, err := decoder.Token() // the closing bracket
	return values, err
}
