package fleetprovtest

import "github.com/fleetprov/fleetprov/internal/iotservice"

// createdKeys is the answer to CreateKeysAndCertificate.
type createdKeys struct {
	CertificateID             string `json:"certificateId"`
	CertificatePEM            string `json:"certificatePem"`
	PrivateKey                string `json:"privateKey"`
	CertificateOwnershipToken string `json:"certificateOwnershipToken"`
}

// createdFromCSR is the answer to CreateCertificateFromCsr.
type createdFromCSR struct {
	CertificateID             string `json:"certificateId"`
	CertificatePEM            string `json:"certificatePem"`
	CertificateOwnershipToken string `json:"certificateOwnershipToken"`
}

// registered is the answer to RegisterThing.
type registered struct {
	ThingName           string            `json:"thingName,omitempty"`
	DeviceConfiguration map[string]string `json:"deviceConfiguration,omitzero"`
}

// perform reads the payload of a request and has the service perform it.
func (m *mqttFront) perform(by *session, o operation, payload []byte) outcome {
	switch o.op {
	case OpCreateKeysAndCertificate:
		return m.createKeys(o.format, payload)
	case OpCreateCertificateFromCSR:
		return m.createFromCSR(o.format, payload)
	default:
		return m.register(by, o, payload)
	}
}

func (m *mqttFront) createKeys(f format, payload []byte) outcome {
	if len(payload) > 0 { // the documentation says empty, the SDKs send {}
		if _, err := f.parse(payload); err != nil {
			return badPayload
		}
	}
	certificate, key, rejection := m.service.CreateKeys()
	if rejection != nil {
		return rejectedBy(rejection)
	}
	return outcome{
		answer: createdKeys{
			CertificateID:             certificate.ID,
			CertificatePEM:            iotservice.CertificatePEM(certificate.X509),
			PrivateKey:                iotservice.KeyPEM(key),
			CertificateOwnershipToken: certificate.Token,
		},
		log: []any{"issued", certificate.ID},
	}
}

func (m *mqttFront) createFromCSR(f format, payload []byte) outcome {
	members, err := f.parse(payload)
	if err != nil {
		return badPayload
	}
	csr, err := f.optionalString(members, "certificateSigningRequest")
	if err != nil {
		return badRequest("InvalidRequest", err.Error())
	}
	certificate, text, rejection := m.service.CreateFromCSR(csr)
	if rejection != nil {
		return rejectedBy(rejection)
	}
	return outcome{
		answer: createdFromCSR{
			CertificateID:             certificate.ID,
			CertificatePEM:            text,
			CertificateOwnershipToken: certificate.Token,
		},
		log: []any{"issued", certificate.ID},
	}
}

func (m *mqttFront) register(by *session, o operation, payload []byte) outcome {
	template, rejection := m.service.Template(o.template)
	if rejection != nil {
		return rejectedBy(rejection)
	}
	members, err := o.format.parse(payload)
	if err != nil {
		return badPayload
	}
	token, err := o.format.optionalString(members, "certificateOwnershipToken")
	if err != nil {
		return badRequest("InvalidRequest", err.Error())
	}
	parameters, err := o.format.optionalStrings(members, "parameters")
	if err != nil {
		return badRequest("InvalidParameters", err.Error())
	}
	caller := iotservice.Caller{ClaimCertificateID: by.certificateID, ClientID: by.conn.ClientID()}
	done, rejection := m.service.Register(caller, template, token, parameters)
	if rejection != nil {
		return rejectedBy(rejection)
	}
	return outcome{
		answer: registered{ThingName: done.ThingName, DeviceConfiguration: done.Configuration},
		log:    []any{"template", o.template, "thing", done.ThingName},
	}
}
