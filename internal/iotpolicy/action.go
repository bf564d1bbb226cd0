package iotpolicy

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// iotActions are AWS IoT's policy actions in lower case: those of
// "iot-policy-actions", and that of the credential provider
// ("authorizing-direct-aws").
var iotActions = []string{
	"iot:connect",
	"iot:deleteconnection",
	"iot:getretainedmessage",
	"iot:listretainedmessages",
	"iot:publish",
	"iot:receive",
	"iot:retainpublish",
	"iot:subscribe",

	"iot:deletethingshadow",
	"iot:getthingshadow",
	"iot:listnamedshadowsforthing",
	"iot:updatethingshadow",

	"iot:describejobexecution",
	"iot:getpendingjobexecutions",
	"iot:startnextpendingjobexecution",
	"iot:updatejobexecution",

	"iot:assumerolewithcertificate",
}

var actionForm = regexp.MustCompile(`^([a-z0-9-]+:[a-z0-9*?]+|\*)$`)

// parseAction parses an action, in which * and ? are wildcards and upper and lower case
// are the same (IAM, "reference_policies_elements_action"). The pattern is nil for an
// action of another service, such as greengrass:Discover, whose name is not checked.
func parseAction(text string) (pattern, error) {
	text = strings.ToLower(text)
	if !actionForm.MatchString(text) {
		return nil, errors.New("an action is a service, a colon and a name, such as iot:Connect")
	}
	if text != "*" && !strings.HasPrefix(text, "iot:") {
		return nil, nil
	}
	action, err := parsePattern(text, true)
	if err != nil {
		return nil, err
	}
	known := func(name string) bool { return action.matches(name, nil) }
	if !slices.ContainsFunc(iotActions, known) {
		return nil, errors.New("AWS IoT has no such policy action")
	}
	return action, nil
}
