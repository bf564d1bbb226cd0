package controlplane

import (
	"slices"

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

func (p *plane) listThings(in input) (output, error) {
	var all []entry
	for _, t := range p.account.Registry.Things() {
		all = append(all, entry{t.Name, thingOutput(in, t)})
	}
	return list(in, "things", all, "maxResults", "nextToken", "nextToken")
}

func (p *plane) deleteThing(in input) (output, error) {
	return output{}, p.account.Registry.DeleteThing(in.text("thingName"))
}
