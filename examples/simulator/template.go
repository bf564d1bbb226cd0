package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// requiredParameters returns the names of the parameters of a template that a
// device has to send, sorted: those without a default that AWS does not fill in.
func requiredParameters(body []byte) ([]string, error) {
	var template struct {
		Parameters map[string]struct{ Default *string }
	}
	if err := json.Unmarshal(body, &template); err != nil {
		return nil, err
	}
	maps.DeleteFunc(template.Parameters, func(name string, p struct{ Default *string }) bool {
		return p.Default != nil || strings.HasPrefix(name, "AWS::IoT::")
	})
	return slices.Sorted(maps.Keys(template.Parameters)), nil
}
