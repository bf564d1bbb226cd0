package iotpolicy

import (
	"fmt"
	"regexp"
	"strings"
)

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

// names are those of the variables and condition keys that a caller of [Allowed] can give
// values for ("basic-policy-variables", "thing-policy-variables",
// "cert-policy-variables", "iot-custom-endpoints-configurable"). A name that can occur
// several times in a certificate may have a number appended, counted from 0.
var names = regexp.MustCompile(`(?i)^(` + strings.Join([]string{
	`aws:SourceIp`,
	`iot:ClientId`,
	`iot:ConnectAttributes`,
	`iot:DomainName`,
	`iot:Connection\.Thing\.(ThingName|ThingTypeName|IsAttached|Attributes\[.+\])`,
	`iot:CertificateId`,
	`iot:Certificate\.SerialNumber`,
	`iot:Certificate\.(Subject|Issuer)\.(` + strings.Join(attributeNames(), "|") + `)(\.[0-9]+)?`,
}, "|") + `)$`)

// checkName refuses a variable or condition key that never has a value here. To AWS IoT it
// may have one, so a document with it would be evaluated wrongly.
func checkName(name string) error {
	if !names.MatchString(name) {
		return fmt.Errorf("the variable or condition key %s is not supported, because it has no value here", name)
	}
	return nil
}
