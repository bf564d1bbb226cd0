package iotpolicy

import "strings"

// variables are the values of policy variables, by name.
type variables map[string]string

// lookup returns the value of a variable. The case of letters in a name means
// nothing (IAM, "reference_policies_variables"), but a name that is equal goes
// first, since the names of a thing's attributes may differ in nothing else.
func (v variables) lookup(name string) (value string, ok bool) {
	if value, ok := v[name]; ok {
		return value, true
	}
	for candidate, value := range v {
		if strings.EqualFold(candidate, name) {
			return value, true
		}
	}
	return "", false
}
