package iotpolicy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// operator is how a condition compares (IAM,
// "reference_policies_elements_condition_operators").
type operator struct {
	wildcards  bool
	ignoreCase bool
	negated    bool
}

var operators = map[string]operator{
	"Bool":                      {ignoreCase: true},
	"StringEquals":              {},
	"StringNotEquals":           {negated: true},
	"StringEqualsIgnoreCase":    {ignoreCase: true},
	"StringNotEqualsIgnoreCase": {ignoreCase: true, negated: true},
	"StringLike":                {wildcards: true},
	"StringNotLike":             {wildcards: true, negated: true},
}

// condition compares the variable key with each of the values: one must match,
// or none if the operator is negated.
type condition struct {
	operator
	key    string
	values []pattern
}

// holds reports whether the condition is met. A key that the connection has no
// value for matches nothing, and so does a value with such a variable in it: a
// negated condition is met then.
func (c condition) holds(known variables) bool {
	actual, present := known.lookup(c.key)
	matched := present && slices.ContainsFunc(c.values, func(value pattern) bool {
		symbols, ok := value.resolve(known)
		switch {
		case !ok:
			return false
		case c.ignoreCase:
			return strings.EqualFold(string(symbols), actual)
		default:
			return match(symbols, actual)
		}
	})
	return matched != c.negated
}

func parseConditions(members map[string]any) ([]condition, error) {
	element, given := members["Condition"]
	if !given {
		return nil, nil
	}
	byOperator, ok := element.(map[string]any)
	if !ok {
		return nil, errors.New("the Condition must be a JSON object")
	}
	var conditions []condition
	for _, name := range sortedNames(byOperator) {
		operator, ok := operators[name]
		if !ok {
			return nil, fmt.Errorf("the condition operator %q is not supported", name)
		}
		byKey, ok := byOperator[name].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the %s must be a JSON object", name)
		}
		for _, key := range sortedNames(byKey) {
			values, err := parseValues(name, oneOrMore(byKey[key]))
			if err != nil {
				return nil, fmt.Errorf("%s of %q: %w", name, key, err)
			}
			conditions = append(conditions, condition{operator, key, values})
		}
	}
	return conditions, nil
}

func parseValues(operator string, values []any) ([]pattern, error) {
	if len(values) == 0 {
		return nil, errors.New("the value is missing or empty")
	}
	var patterns []pattern
	for _, value := range values {
		text, err := scalar(value)
		if err != nil {
			return nil, err
		}
		if operator == "Bool" && !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
			return nil, fmt.Errorf("%q is not true or false", text)
		}
		parsed, err := parsePattern(text, operators[operator].wildcards)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		patterns = append(patterns, parsed)
	}
	return patterns, nil
}

// scalar returns the text of a condition's value, which may be a string, a
// number or a Boolean (IAM, "reference_policies_grammar").
func scalar(value any) (string, error) {
	switch value := value.(type) {
	case string:
		return value, nil
	case json.Number:
		return value.String(), nil
	case bool:
		return strconv.FormatBool(value), nil
	default:
		return "", errors.New("a value is a string, a number or a Boolean")
	}
}
