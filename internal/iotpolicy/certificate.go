package iotpolicy

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"strconv"
)

// attributes are the attributes of a distinguished name that policies can refer to, by
// their object identifiers ("cert-policy-variables", RFC 4519 and RFC 3739).
var attributes = map[string]string{
	"2.5.4.46": "DistinguishedNameQualifier",
	"2.5.4.6":  "Country",
	"2.5.4.10": "Organization",
	"2.5.4.11": "OrganizationalUnit",
	"2.5.4.8":  "State",
	"2.5.4.3":  "CommonName",
	"2.5.4.5":  "SerialNumber",
	"2.5.4.12": "Title",
	"2.5.4.4":  "Surname",
	"2.5.4.42": "GivenName",
	"2.5.4.43": "Initials",
	"2.5.4.65": "Pseudonym",
	"2.5.4.44": "GenerationQualifier",
}

func attributeNames() []string {
	var names []string
	for _, name := range attributes {
		names = append(names, name)
	}
	return names
}

// CertificateVariables returns the values of the variables that come from a client's
// certificate ("cert-policy-variables"): iot:CertificateId, and iot:Certificate with its
// SerialNumber and the attributes of its Subject and Issuer. The page also names the
// subject's alternative names, which certificates of AWS IoT do not have; they have no
// values here.
func CertificateVariables(certificate *x509.Certificate) map[string]string {
	digest := sha256.Sum256(certificate.Raw)
	values := map[string]string{
		"iot:CertificateId":            hex.EncodeToString(digest[:]),
		"iot:Certificate.SerialNumber": certificate.SerialNumber.Text(16),
	}
	addName(values, "iot:Certificate.Subject.", certificate.Subject)
	addName(values, "iot:Certificate.Issuer.", certificate.Issuer)
	return values
}

// addName adds the attributes of a name: the first of each kind under the attribute's own
// name, and all of them with their numbers.
func addName(values map[string]string, prefix string, name pkix.Name) {
	count := make(map[string]int)
	for _, attribute := range name.Names {
		known, ok := attributes[attribute.Type.String()]
		if !ok {
			continue
		}
		key := prefix + known
		value := fmt.Sprint(attribute.Value)
		if count[key] == 0 {
			values[key] = value
		}
		values[key+"."+strconv.Itoa(count[key])] = value
		count[key]++
	}
}
