package fleetprov

// topics are where the requests of one flow are published. Each is answered on itself
// with /accepted or /rejected behind it, in the format that its last level names (AWS
// developer guide, "fleet-provision-api").
type topics struct{ create, register string }

// newTopics returns the topics of a flow: with the device's own key, or with one that
// AWS makes. With "*" for the format they are the patterns that a policy names.
func newTopics(ownKey bool, template, format string) topics {
	create := "$aws/certificates/create/"
	if ownKey {
		create = "$aws/certificates/create-from-csr/"
	}
	return topics{
		create:   create + format,
		register: "$aws/provisioning-templates/" + template + "/provision/" + format,
	}
}

// answers are the topics that the flow subscribes to.
func (t topics) answers() []string {
	var answers []string
	for _, request := range []string{t.create, t.register} {
		answers = append(answers, request+"/accepted", request+"/rejected")
	}
	return answers
}
