package iotpolicy

import (
	"errors"
	"strings"
)

// parseResource parses an ARN, or the * that stands for all of them, and returns the
// pattern of the part after the account, the only part in which variables are allowed
// (IAM, "reference_policies_variables"). The pattern is nil for an ARN of another
// service: a policy may grant rights there, too, such as to discover a Greengrass core,
// and they do not matter to an MQTT client.
func parseResource(text string) (pattern, error) {
	if text == "*" {
		return parsePattern(text, true)
	}
	fields := strings.SplitN(text, ":", 6)
	if len(fields) < 6 || fields[0] != "arn" || fields[1] == "" || fields[5] == "" {
		return nil, errors.New("a resource is * or an ARN, such as arn:aws:iot:us-east-1:123456789012:topic/a/b")
	}
	partition, service, region, account, resource := fields[1], fields[2], fields[3], fields[4], fields[5]
	if strings.Contains(partition+service+region+account, "${") {
		return nil, errors.New("variables are allowed only after the account")
	}
	switch {
	case service == "iot":
		return parsePattern(resource, true)
	case strings.ContainsAny(service, "*?"):
		return nil, errors.New("wildcards for the service are not supported")
	default:
		return nil, nil
	}
}
