package iotpolicy

import "strings"

// variables are the values of policy variables, by name.
type variables map[string]string

// lookup returns the value of a name. Upper and lower case are the same in names (IAM,
// "reference_policies_variables"), but an exact match takes precedence, because the
// names of a thing's attributes may differ only in case.
func lookup[T any](known map[string]T, name string) (value T, ok bool) {
	if value, ok := known[name]; ok {
		return value, true
	}
	for candidate, value := range known {
		if strings.EqualFold(candidate, name) {
			return value, true
		}
	}
	return value, false
}
