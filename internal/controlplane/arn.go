package controlplane

import (
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// partition returns what the ARNs of a region begin with.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "arn:aws-cn:"
	case strings.HasPrefix(region, "us-gov-"):
		return "arn:aws-us-gov:"
	default:
		return "arn:aws:"
	}
}

// arn returns an ARN in the region of a request.
func (in input) arn(service, resource string) string {
	region := in.region + ":"
	if service == "iam" {
		region = ":"
	}
	return partition(in.region) + service + ":" + region + iotregistry.Account + ":" + resource
}

// resource returns the part of an ARN after its prefix, such as "cert/". ok is false if it
// is not the ARN of such a resource in this account. Any region will do.
func resource(arn, service, prefix string) (name string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != service || parts[4] != iotregistry.Account {
		return "", false
	}
	name, ok = strings.CutPrefix(parts[5], prefix)
	return name, ok && name != ""
}

// certificateOf returns the id in the ARN of a certificate of this account.
func certificateOf(arn string) (string, error) {
	id, ok := resource(arn, "iot", "cert/")
	if !ok {
		return "", fail("InvalidRequestException", "%q is not the ARN of a certificate in the account %s.", arn, iotregistry.Account)
	}
	return id, nil
}
