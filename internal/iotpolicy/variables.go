package iotpolicy

import "strings"

// variables are the values of policy variables, by name.
type variables map[string]string

// lookup returns what is known by a name. The case of letters in a name means
// nothing (IAM, "reference_policies_variables"), but a name that is equal goes
// first, since the names of a thing's attributes may differ in nothing else.
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
