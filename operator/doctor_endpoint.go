package operator

import (
	"context"
	"net"
	"strings"
)

// endpoint looks whether devices are configured with the endpoint of the account.
func (d *doctor) endpoint(ctx context.Context, given string) error {
	if given == "" {
		return nil
	}
	right, err := d.Endpoint(ctx)
	if err != nil {
		return d.missed(err, "the endpoint of the account")
	}
	host := func(address string) string {
		if h, _, err := net.SplitHostPort(address); err == nil {
			return h
		}
		return address
	}
	if strings.EqualFold(host(given), host(right)) {
		return nil
	}
	if !ofAWS(host(given)) {
		d.warn("check that it is a custom domain of this account in this region, or use "+right, "the endpoint %s is no address of AWS", given)
		return nil
	}
	d.find("use "+right, "the endpoint %s %s", given, kindOfEndpoint(host(given)))
	return nil
}

// ofAWS reports whether AWS gives out such a host. An account can also have domains of its
// own (iot-custom-endpoints-configurable).
func ofAWS(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// kindOfEndpoint says what a host is that is not the right one (iot-connect-devices).
func kindOfEndpoint(host string) string {
	prefix, rest, _ := strings.Cut(host, ".")
	switch {
	case strings.HasPrefix(rest, "credentials.iot."):
		return "is that of the credential provider (iot:CredentialProvider)"
	case strings.HasPrefix(rest, "jobs.iot."):
		return "is that of the API for jobs (iot:Jobs)"
	case strings.HasPrefix(rest, "iot.") && !strings.HasSuffix(prefix, "-ats"):
		return "is of the type iot:Data, whose certificate is not signed by Amazon's roots"
	default:
		return "is not that of this account in this region"
	}
}
