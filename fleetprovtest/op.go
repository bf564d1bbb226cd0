package fleetprovtest

// Op is a request that the server sees, spelled as AWS spells it.
type Op string

// The requests that a [Fault] can be injected into, and a [Quota] set for.
const (
	OpConnect                  Op = "Connect"
	OpSubscribe                Op = "Subscribe"
	OpCreateKeysAndCertificate Op = "CreateKeysAndCertificate"
	OpCreateCertificateFromCSR Op = "CreateCertificateFromCsr"
	OpRegisterThing            Op = "RegisterThing"
)
