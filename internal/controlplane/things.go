package controlplane

import (
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

func (p *plane) attachThing(in input) (output, error) {
	id, err := certificateOf(in.text("principal"))
	if err != nil {
		return nil, err
	}
	exclusive := in.text("thingPrincipalType") == "EXCLUSIVE_THING"
	return output{}, p.account.Registry.AttachThing(in.text("thingName"), id, exclusive)
}

func (p *plane) detachThing(in input) (output, error) {
	id, err := certificateOf(in.text("principal"))
	if err != nil {
		return nil, err
	}
	return output{}, p.account.Registry.DetachThing(in.text("thingName"), id)
}

func (p *plane) listThingPrincipals(in input) (output, error) {
	t, err := p.account.Registry.Thing(in.text("thingName"))
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, id := range t.CertificateIDs {
		all = append(all, certificateEntry(in, id))
	}
	return list(in, "principals", all, "maxResults", "nextToken", "nextToken")
}

func (p *plane) listPrincipalThings(in input) (output, error) {
	id, err := certificateOf(in.text("principal"))
	if err != nil {
		return nil, err
	}
	c, err := p.account.Registry.Certificate(id)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, t := range p.account.Registry.Things() {
		if slices.Contains(t.CertificateIDs, c.ID) {
			all = append(all, entry{t.Name, t.Name})
		}
	}
	return list(in, "things", all, "maxResults", "nextToken", "nextToken")
}

// thingOutput is a thing in a list.
func thingOutput(in input, t iotregistry.Thing) output {
	attributes := t.Attributes
	if attributes == nil {
		attributes = map[string]string{}
	}
	answer := output{"thingName": t.Name, "thingArn": in.arn("iot", "thing/"+t.Name), "attributes": attributes}
	if t.Type != "" {
		answer["thingTypeName"] = t.Type
	}
	return answer
}

func (p *plane) describeThing(in input) (output, error) {
	t, err := p.account.Registry.Thing(in.text("thingName"))
	if err != nil {
		return nil, err
	}
	answer := thingOutput(in, t)
	answer["defaultClientId"] = t.Name
	if t.BillingGroup != "" {
		answer["billingGroupName"] = t.BillingGroup
	}
	return answer, nil
}

// listThings lists all things, or those of a type or with an attribute.
func (p *plane) listThings(in input) (output, error) {
	if in.given("attributeName") != in.given("attributeValue") {
		return nil, fail("InvalidRequestException", "attributeName and attributeValue are served here only together.")
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

func (p *plane) deleteThing(in input) (output, error) {
	return output{}, p.account.Registry.DeleteThing(in.text("thingName"))
}
