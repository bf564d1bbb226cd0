package controlplane

import (
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iotservice"
)

// firstStatus is the status of a new certificate.
func firstStatus(in input) string {
	if in.flag("setAsActive") {
		return iotregistry.Active
	}
	return iotregistry.Inactive
}

func (p *plane) createKeys(in input) (output, error) {
	made, err := p.account.Service.MakeKeys(firstStatus(in))
	if err != nil {
		return nil, err
	}
	answer := issuedOutput(in, made)
	answer["keyPair"] = output{"PublicKey": made.PublicKeyPEM, "PrivateKey": made.PrivateKeyPEM}
	return answer, nil
}

func (p *plane) createFromCSR(in input) (output, error) {
	made, err := p.account.Service.CertifyCSR(in.text("certificateSigningRequest"), firstStatus(in))
	if err != nil {
		return nil, fail("InvalidRequestException", "%v", err)
	}
	return issuedOutput(in, made), nil
}

func issuedOutput(in input, made iotservice.Issued) output {
	return output{"certificateArn": in.arn("iot", "cert/"+made.ID), "certificateId": made.ID, "certificatePem": made.CertificatePEM}
}

func (p *plane) registerCertificate(in input) (output, error) {
	status := in.text("status")
	switch status {
	case "":
		status = firstStatus(in)
	case iotregistry.Active, iotregistry.Inactive:
	default:
		return nil, fail("InvalidRequestException", "A certificate cannot be registered as %s.", status)
	}
	block, _ := pem.Decode([]byte(in.text("certificatePem")))
	if block == nil {
		return nil, fail("CertificateValidationException", "The certificate is not PEM.")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fail("CertificateValidationException", "The certificate cannot be parsed: %v", err)
	}
	c, err := p.account.Registry.Add(parsed, status)
	if err != nil {
		return nil, err
	}
	return output{"certificateArn": in.arn("iot", "cert/"+c.ID), "certificateId": c.ID}, nil
}

// certificateOutput is a certificate in a list.
func certificateOutput(in input, c iotregistry.Certificate) output {
	return output{
		"certificateArn":  in.arn("iot", "cert/"+c.ID),
		"certificateId":   c.ID,
		"status":          c.Status,
		"certificateMode": "DEFAULT",
		"creationDate":    epoch(c.IssuedAt),
	}
}

func (p *plane) describeCertificate(in input) (output, error) {
	c, err := p.account.Registry.Certificate(in.text("certificateId"))
	if err != nil {
		return nil, err
	}
	answer := certificateOutput(in, c)
	answer["certificatePem"] = iotservice.CertificatePEM(c.X509)
	answer["ownedBy"] = iotregistry.Account
	answer["validity"] = output{"notBefore": epoch(c.X509.NotBefore), "notAfter": epoch(c.X509.NotAfter)}
	return output{"certificateDescription": answer}, nil
}

func (p *plane) updateCertificate(in input) (output, error) {
	id, status := strings.ToLower(in.text("certificateId")), in.text("newStatus")
	registry := p.account.Registry
	if registry.Status(id) == "" {
		_, err := registry.Certificate(id)
		return nil, err
	}
	if err := registry.SetStatus(id, status); err != nil {
		return nil, fail("InvalidRequestException", "%v", err)
	}
	p.account.Updated(id)
	return output{}, nil
}

func (p *plane) deleteCertificate(in input) (output, error) {
	return output{}, p.account.Registry.DeleteUnused(in.text("certificateId"), in.flag("forceDelete"))
}

func (p *plane) listCertificates(in input) (output, error) {
	var all []entry
	for _, c := range p.account.Registry.Certificates() {
		all = append(all, entry{sortable(c.IssuedAt.UnixNano()) + c.ID, certificateOutput(in, c)})
	}
	return list(in, "certificates", all, "pageSize", "marker", "nextMarker")
}
