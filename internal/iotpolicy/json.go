package iotpolicy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// decodeJSON decodes a JSON document into maps, slices, strings, numbers of type
// [json.Number], Booleans and nil. Unlike [json.Unmarshal] it refuses a member
// that an object has twice, as AWS does (IAM, "reference_policies_grammar").
func decodeJSON(document []byte) (any, error) {
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
		members := make(map[string]any)
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			value, err := decodeValue(decoder)
			if err != nil {
				return nil, err
			}
			if _, twice := members[name.(string)]; twice {
				return nil, fmt.Errorf("%q is given twice", name)
			}
			members[name.(string)] = value
		}
		_, err := decoder.Token() // the closing brace
		return members, err
	case json.Delim('['):
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
	default:
		return token, nil
	}
}

// oneOrMore returns the values of an element that is one value or a list of
// them. A list with one value may go without its brackets (IAM,
// "reference_policies_grammar").
func oneOrMore(value any) []any {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		return value
	default:
		return []any{value}
	}
}

// sortedNames returns the names of an object's members in one order, so that
// the same document always gives the same error.
func sortedNames(members map[string]any) []string {
	return slices.Sorted(maps.Keys(members))
}
