package controlplane

func (p *plane) describeEndpoint(in input) (output, error) {
	switch kind := in.text("endpointType"); kind {
	case "", "iot:Data", "iot:Data-ATS":
		return output{"endpointAddress": p.account.Endpoint}, nil
	default:
		return nil, fail("InvalidRequestException", "There is no endpoint of the type %q here, only iot:Data-ATS.", kind)
	}
}
