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
		return err
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
	d.find("use "+right, "the endpoint %s %s", given, kindOfEndpoint(host(given)))
	return nil
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
