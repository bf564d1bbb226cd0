package iotpolicy

import (
	"maps"
	"slices"
)

// oneOrMore returns the values of an element that is one value or a list of
// them. The brackets of a list with one value may be left out (IAM,
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

// sortedNames returns the names of an object's members in a fixed order, so that the
// same document always gives the same error.
func sortedNames(members map[string]any) []string {
	return slices.Sorted(maps.Keys(members))
}
