package controlplane

import (
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// findThings lists the things that a request asks for: all, or those of a type or with an
// attribute.
func (p *plane) findThings(in input) (output, error) {
	if in.given("attributeName") != in.given("attributeValue") {
		return nil, fail("InvalidRequestException", "attributeName and attributeValue are served here only together.")
	}
	if !in.given("attributeName") && !in.given("thingTypeName") {
		return p.listThings(in)
	}
	var found []entry
	for _, t := range p.account.Registry.Things() {
		if asked(in, t) {
			found = append(found, entry{t.Name, thingOutput(in, t)})
		}
	}
	return list(in, "things", found, "maxResults", "nextToken", "nextToken")
}

// asked reports whether a request of ListThings asks for a thing.
func asked(in input, t iotregistry.Thing) bool {
	if in.given("thingTypeName") && in.text("thingTypeName") != t.Type {
		return false
	}
	if !in.given("attributeName") {
		return true
	}
	value, ok := t.Attributes[in.text("attributeName")]
	wanted := in.text("attributeValue")
	return ok && (value == wanted || in.flag("usePrefixAttributeValue") && strings.HasPrefix(value, wanted))
}
