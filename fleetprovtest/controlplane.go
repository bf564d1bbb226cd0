package fleetprovtest

import "net/http"

// ControlPlane returns the AWS APIs that set a fleet up, for the AWS CLI and the AWS SDKs
// (their --endpoint-url, AWS_ENDPOINT_URL or BaseEndpoint). They are of AWS IoT (restJson1)
// all that concerns provisioning templates and their versions, provisioning claims,
// certificates, policies and their versions, what they are attached to, things, and
// DescribeEndpoint, which answers with [Server.Endpoint]; of IAM roles and their policies;
// of Lambda functions and their permissions; and of STS GetCallerIdentity. Requests are
// checked against AWS's service models, and errors have AWS's types and statuses.
//
// Whoever reaches the handler is served, with any credentials or none, but for web pages:
// requests with an Origin are refused. The signature's region is that of the ARNs in the
// answer; the account, 123456789012, is one for all regions. It is the same account that
// MQTT clients meet: a claim made here provisions devices with a template made here, and
// the things that come of it are listed here.
//
//   - [Server.Advance] moves the clock by which the claim of CreateProvisioningClaim expires,
//     five minutes after it was made.
//   - Detaching takes effect a second later, and until then what is attached cannot be deleted.
//   - RegisterThing fails with 403 if AWS IoT may not take the template's role, or the role has
//     neither a policy of AWS that lets it register things nor any policy of its own. No
//     other right of a role is checked.
//   - A function is run by python3 with the rights of this process, if a template names it as
//     its hook and AddPermission lets AWS IoT call it. It is started when its code comes, in
//     a temporary directory. AWS_ENDPOINT_URL in its environment is where the request that
//     brought the code has reached this handler. What it prints goes to Logger. The first call
//     of a hook still counts as a refusal after five seconds. Functions for other runtimes
//     can be made but not run.
//   - A server with [RefuseInHandshake] refuses a certificate of RegisterCertificate, since it
//     verifies the chain, unless [Server.TLS] has ClientCAs or SignCSR is set.
//   - The template of the fields of Server is not listed, and a template made here may take
//     its name.
//
// ControlPlane panics before [Server.Start]. The handler answers 503 after [Server.Close].
func (s *Server) ControlPlane() http.Handler {
	if s.front == nil {
		panic("fleetprovtest: ControlPlane needs a server that was started")
	}
	return s.control
}
