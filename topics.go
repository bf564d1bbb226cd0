package fleetprov

// The request topics of the device provisioning MQTT API. Each is answered on
// itself with /accepted or /rejected behind it, in the format that its last
// level names (AWS developer guide, "fleet-provision-api").

func createKeysTopic(format string) string {
	return "$aws/certificates/create/" + format
}

func createFromCSRTopic(format string) string {
	return "$aws/certificates/create-from-csr/" + format
}

func registerTopic(template, format string) string {
	return "$aws/provisioning-templates/" + template + "/provision/" + format
}

// answerTopics are the topics a flow subscribes to.
func answerTopics(requests ...string) []string {
	var answers []string
	for _, request := range requests {
		answers = append(answers, request+"/accepted", request+"/rejected")
	}
	return answers
}
