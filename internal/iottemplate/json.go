package iottemplate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/internal/strictjson"
)

// maxDepth is how deep arrays and objects may nest. It bounds every recursion over a
// template.
const maxDepth = 32

// decode decodes a template body with [strictjson.Decode].
func decode(body []byte) (any, error) {
	document, err := strictjson.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("the template body cannot be decoded: %w", err)
	}
	if deeper(document, maxDepth) {
		return nil, fmt.Errorf("the template body nests deeper than %d levels", maxDepth)
	}
	return document, nil
}

func deeper(value any, levels int) bool {
	within := func(value any) bool { return deeper(value, levels-1) }
	switch value := value.(type) {
	case []any:
		return levels == 0 || slices.ContainsFunc(value, within)
	case map[string]any:
		return levels == 0 || slices.ContainsFunc(slices.Collect(maps.Values(value)), within)
	}
	return false
}

// encode returns JSON without escapes for HTML and with sorted names, so that equal
// policy documents are equal texts.
func encode(value any) (string, error) {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// members returns the members of an object. If known names are given, it refuses
// all others.
func members(place string, value any, known ...string) (map[string]any, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return nil, at(place, "must be a JSON object, not %s", describe(value))
	}
	for _, name := range sorted(object) {
		if len(known) > 0 && !slices.Contains(known, name) {
			return nil, at(place, "%s is not one of %s", quoted(name), strings.Join(known, ", "))
		}
	}
	return object, nil
}

func sorted[V any](object map[string]V) []string {
	return slices.Sorted(maps.Keys(object))
}

// describe names the kind of a value, and never its content.
func describe(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a bool"
	case []any:
		return "an array"
	}
	return "an object"
}

// quoted bounds how much of a text an error repeats.
func quoted(text string) string {
	const longest = 64
	if runes := []rune(text); len(runes) > longest {
		return fmt.Sprintf("%q…", string(runes[:longest]))
	}
	return fmt.Sprintf("%q", text)
}
