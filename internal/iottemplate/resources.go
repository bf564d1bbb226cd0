package iottemplate

// resources is the Resources section.
type resources struct {
	thing       *thingResource
	certificate *certificateResource
	policies    []policyResource
}

func (p parser) resources(section any) (resources, error) {
	var all resources
	declared, err := members("Resources", section)
	if err != nil {
		return resources{}, err
	}
	if len(declared) == 0 {
		return resources{}, at("Resources", "no resource is declared")
	}
	for _, name := range sorted(declared) {
		place := "Resources." + name
		resource, err := members(place, declared[name], "Type", "Properties", "OverrideSettings")
		if err != nil {
			return resources{}, err
		}
		properties, overrides := resource["Properties"], resource["OverrideSettings"]
		switch resource["Type"] {
		case "AWS::IoT::Thing":
			if all.thing != nil {
				return resources{}, at(place, "a template can declare only one thing")
			}
			all.thing, err = p.thing(place, properties, overrides)
		case "AWS::IoT::Certificate":
			if all.certificate != nil {
				return resources{}, at(place, "a template can declare only one certificate")
			}
			all.certificate, err = p.certificate(place, properties, overrides)
		case "AWS::IoT::Policy":
			var policy policyResource
			policy, err = p.policy(place, properties, overrides)
			all.policies = append(all.policies, policy)
		default:
			err = at(place+".Type", "must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy")
		}
		if err != nil {
			return resources{}, err
		}
	}
	return all, nil
}

// optional parses a property that may be left out.
func (p parser) optional(place string, properties map[string]any, name string, check check) (*text, error) {
	value, ok := properties[name]
	if !ok {
		return nil, nil
	}
	t, err := p.text(place+"."+name, value, check)
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// orEmpty evaluates a property that may be left out.
func (t *text) orEmpty(v values) (string, error) {
	if t == nil {
		return "", nil
	}
	return t.evaluate(v)
}
