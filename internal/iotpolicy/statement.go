package iotpolicy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// statement allows or denies its actions on its resources while all of its
// conditions hold.
type statement struct {
	deny       bool
	actions    []pattern // in lower case; none of other services
	resources  []pattern // of the part of the ARN after the account; none of other services
	conditions []condition
}

func (s statement) appliesTo(request Request) bool {
	values := variables(request.Variables)
	action := strings.ToLower(string(request.Action))
	return slices.ContainsFunc(s.actions, func(p pattern) bool { return p.matches(action, nil) }) &&
		slices.ContainsFunc(s.resources, func(p pattern) bool { return p.matches(request.Resource, values) }) &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(request) })
}

func parseStatement(value any) (statement, error) {
	members, ok := value.(map[string]any)
	if !ok {
		return statement{}, errors.New("a statement is a JSON object")
	}
	if err := checkElements(members, "Sid", "Effect", "Action", "Resource", "Condition"); err != nil {
		return statement{}, err
	}
	if sid, given := members["Sid"]; given {
		if _, ok := sid.(string); !ok {
			return statement{}, errors.New("the Sid must be a string")
		}
	}
	effect := members["Effect"]
	if effect != "Allow" && effect != "Deny" {
		return statement{}, errors.New(`the Effect must be "Allow" or "Deny"`)
	}
	actions, err := parsePatterns(members, "Action", parseAction)
	if err != nil {
		return statement{}, err
	}
	resources, err := parsePatterns(members, "Resource", parseResource)
	if err != nil {
		return statement{}, err
	}
	byOperator, err := conditionsOf(members)
	if err != nil {
		return statement{}, err
	}
	parsed := statement{deny: effect == "Deny", actions: actions, resources: resources}
	if len(actions) == 0 || len(resources) == 0 {
		return parsed, nil // it never applies here, whatever its conditions are
	}
	parsed.conditions, err = parseConditions(byOperator)
	if err != nil {
		return statement{}, err
	}
	return parsed, nil
}

// parsePatterns parses an element that is a string or a list of strings. It leaves out
// values whose pattern is nil, which match nothing.
func parsePatterns(members map[string]any, element string, parse func(string) (pattern, error)) ([]pattern, error) {
	values := oneOrMore(members[element])
	if len(values) == 0 {
		return nil, fmt.Errorf("the %s is missing or empty", element)
	}
	var patterns []pattern
	for _, value := range values {
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("the %s must be a string or a list of strings", element)
		}
		parsed, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", element, text, err)
		}
		if parsed != nil {
			patterns = append(patterns, parsed)
		}
	}
	return patterns, nil
}
