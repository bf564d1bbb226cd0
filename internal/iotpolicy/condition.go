package iotpolicy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// operator is how a condition compares (IAM,
// "reference_policies_elements_condition_operators").
type operator struct {
	set        setOperator
	boolean    bool // the values are true and false
	address    bool // the values are IP addresses and networks
	wildcards  bool
	ignoreCase bool
	negated    bool
}

var operators = map[string]operator{
	"Bool":                      {boolean: true, ignoreCase: true},
	"IpAddress":                 {address: true},
	"NotIpAddress":              {address: true, negated: true},
	"StringEquals":              {},
	"StringNotEquals":           {negated: true},
	"StringEqualsIgnoreCase":    {ignoreCase: true},
	"StringNotEqualsIgnoreCase": {ignoreCase: true, negated: true},
	"StringLike":                {wildcards: true},
	"StringNotLike":             {wildcards: true, negated: true},
}

// condition compares what a request has for the key with each of the values: one
// must match, or none if the operator is negated.
type condition struct {
	operator
	key      string
	values   []pattern
	networks []netip.Prefix // in place of values, if the operator is for addresses
}

// holds reports whether the condition is met. A key for which the connection has no
// value matches nothing, so a negated condition is met.
func (c condition) holds(request Request) bool {
	if c.set != noSetOperator {
		return c.holdsForSet(request)
	}
	actual, present := lookup(request.Variables, c.key)
	if !present {
		return c.negated
	}
	return c.accepts(actual, request.Variables)
}

// accepts compares one value of the key. A value of the condition matches nothing if
// one of its variables has no value.
func (c condition) accepts(actual string, known variables) bool {
	if c.address {
		return c.includes(actual) != c.negated
	}
	matched := slices.ContainsFunc(c.values, func(value pattern) bool {
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

// includes reports whether an address is in one of the networks.
func (c condition) includes(text string) bool {
	address, err := netip.ParseAddr(text)
	return err == nil && slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(address.Unmap()) })
}

// conditionsOf returns what a statement has for each operator.
func conditionsOf(statement map[string]any) (byOperator map[string]any, err error) {
	element, given := statement["Condition"]
	if !given {
		return nil, nil
	}
	byOperator, ok := element.(map[string]any)
	if !ok {
		return nil, errors.New("the Condition must be a JSON object")
	}
	return byOperator, nil
}

func parseConditions(byOperator map[string]any) ([]condition, error) {
	var conditions []condition
	for _, name := range sortedNames(byOperator) {
		operator, ok := parseOperator(name)
		if !ok {
			return nil, fmt.Errorf("the condition operator %q is not supported", name)
		}
		byKey, ok := byOperator[name].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the %s must be a JSON object", name)
		}
		for _, key := range sortedNames(byKey) {
			parsed, err := parseCondition(operator, key, byKey[key])
			if err != nil {
				return nil, fmt.Errorf("%s of %q: %w", name, key, err)
			}
			conditions = append(conditions, parsed)
		}
	}
	return conditions, nil
}

// parseCondition parses the values that a key is compared with. An empty list
// is allowed only where it means that the key has no value, as in AWS IoT's example with
// ForAllValues:StringEquals ("connect-policy").
func parseCondition(operator operator, key string, element any) (condition, error) {
	if err := errors.Join(checkSetOperator(operator.set, key), checkName(key)); err != nil {
		return condition{}, err
	}
	values := oneOrMore(element)
	mayBeEmpty := operator.set == forAllValues && !operator.negated
	if values == nil || len(values) == 0 && !mayBeEmpty {
		return condition{}, errors.New("the value is missing or empty")
	}
	c := condition{operator: operator, key: key}
	for _, value := range values {
		text, err := scalar(value)
		if err != nil {
			return condition{}, err
		}
		if operator.address {
			network, err := parseNetwork(text)
			if err != nil {
				return condition{}, err
			}
			c.networks = append(c.networks, network)
			continue
		}
		if operator.boolean && !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
			return condition{}, fmt.Errorf("%q is not true or false", text)
		}
		parsed, err := parsePattern(text, operator.wildcards)
		if err != nil {
			return condition{}, fmt.Errorf("%q: %w", text, err)
		}
		c.values = append(c.values, parsed)
	}
	return c, nil
}

// parseNetwork parses an address, or a network such as 203.0.113.0/24.
func parseNetwork(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address, nor a network such as 203.0.113.0/24", text)
	}
	return network, nil
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
