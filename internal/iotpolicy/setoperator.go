package iotpolicy

import (
	"errors"
	"slices"
	"strings"
)

// setOperator says how many of a key's values a condition must hold for (IAM,
// "reference_policies_condition-single-vs-multi-valued-context-keys").
type setOperator string

const (
	noSetOperator setOperator = "" // the key has one value
	forAllValues  setOperator = "ForAllValues"
	forAnyValue   setOperator = "ForAnyValue"
)

// connectAttributes is AWS IoT's key with several values ("connect-policy").
const connectAttributes = "iot:ConnectAttributes"

// parseOperator returns the operator of a name, which may begin with a set
// operator and a colon.
func parseOperator(name string) (parsed operator, ok bool) {
	set, base, found := strings.Cut(name, ":")
	if !found {
		parsed, ok = operators[name]
		return parsed, ok
	}
	parsed, ok = operators[base]
	parsed.set = setOperator(set)
	return parsed, ok && !parsed.boolean && !parsed.address && (parsed.set == forAllValues || parsed.set == forAnyValue)
}

// checkSetOperator refuses a condition without a set operator if its key can have
// several values. IAM requires one there, and does not say what happens otherwise.
func checkSetOperator(set setOperator, key string) error {
	if set == noSetOperator && strings.EqualFold(key, connectAttributes) {
		return errors.New("a key with several values needs ForAllValues: or ForAnyValue: before the operator")
	}
	return nil
}

// holdsForSet reports whether all values of the key meet the condition, or any of them.
// If the key has no value, ForAllValues is met and ForAnyValue is not, even if the
// operator is negated.
func (c condition) holdsForSet(request Request) bool {
	values := request.valuesOf(c.key)
	if c.set == forAnyValue {
		return slices.ContainsFunc(values, func(value string) bool { return c.accepts(value, request.Variables) })
	}
	return !slices.ContainsFunc(values, func(value string) bool { return !c.accepts(value, request.Variables) })
}

// valuesOf returns the values of a key, which may be one that can have only one value.
// An empty string does not count as a value (IAM, "reference_policies_elements_condition_operators").
func (r Request) valuesOf(key string) []string {
	values, known := lookup(r.Values, key)
	if !known {
		value, _ := lookup(r.Variables, key)
		values = []string{value}
	}
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return value == "" })
}
