package fleetprovtest

// Refusal is how AWS IoT refuses a client: one whose certificate is not known, not active
// or without a policy, or whose client id the policy does not allow.
type Refusal int

const (
	// RefuseByClosing closes the connection after CONNECT, in an orderly way (TLS
	// close_notify) and without a CONNACK. That is what most clients of AWS IoT have
	// reported (eclipse-paho/paho.mqtt.python issue 448). A client of MQTT 5 is sent a
	// CONNACK with the reason code 0x87, because there AWS documents one (mqtt).
	RefuseByClosing Refusal = iota

	// RefuseByConnack sends a CONNACK with the return code 7, as AWS documents it
	// (mqtt), or 0x87 over MQTT 5, and closes the connection.
	RefuseByConnack

	// RefuseInHandshake refuses the certificate with a TLS alert, as older reports have
	// it. A client id is not known then, and is refused as with RefuseByClosing.
	RefuseInHandshake
)
