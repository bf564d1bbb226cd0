package iotpolicy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

func selfSigned(t *testing.T, subject pkix.Name) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(0x12ab), Subject: subject}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return certificate
}

func TestCertificateVariables(t *testing.T) {
	certificate := selfSigned(t, pkix.Name{
		CommonName:         "AWS IoT Certificate",
		Country:            []string{"US"},
		OrganizationalUnit: []string{"Lights", "SmartHome"},
		ExtraNames:         []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 42}, Value: "Ada"}},
	})
	digest := sha256.Sum256(certificate.Raw)
	want := map[string]string{
		"iot:CertificateId":            hex.EncodeToString(digest[:]),
		"iot:Certificate.SerialNumber": "12ab",
	}
	for _, who := range []string{"Subject", "Issuer"} {
		for name, value := range map[string]string{
			"CommonName": "AWS IoT Certificate", "CommonName.0": "AWS IoT Certificate",
			"Country": "US", "Country.0": "US",
			"OrganizationalUnit": "Lights", "OrganizationalUnit.0": "Lights", "OrganizationalUnit.1": "SmartHome",
			"GivenName": "Ada", "GivenName.0": "Ada",
		} {
			want["iot:Certificate."+who+"."+name] = value
		}
	}
	assert.Equal(t, want, iotpolicy.CertificateVariables(certificate))
}

// A document may use every variable that has a value.
func TestCertificateVariablesMayBeUsed(t *testing.T) {
	certificate := selfSigned(t, pkix.Name{CommonName: "a", OrganizationalUnit: []string{"b", "c"}})
	for name, value := range iotpolicy.CertificateVariables(certificate) {
		document := parse(t, statements(onTopic("Allow", "topic/${"+name+"}")))
		request := publish(value)
		request.Variables = iotpolicy.CertificateVariables(certificate)
		assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, request), name)
	}
}

// The rights that a policy grants in other services do not matter to MQTT, and do not keep
// it from being used.
func TestOtherServices(t *testing.T) {
	document := parse(t, `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": ["greengrass:Discover"], "Resource": ["arn:aws:greengrass:us-east-1:123456789012:/greengrass/things/${iot:Connection.Thing.ThingName}"]},
		{"Effect": "Deny", "Action": ["*"], "Resource": ["arn:aws:s3:::bucket/*"]},
		{"Effect": "Allow", "Action": ["greengrass:*", "iot:Publish"], "Resource": ["arn:aws:greengrass:us-east-1:123456789012:*", "arn:aws:iot:us-east-1:123456789012:topic/data"]}
	]}`)
	assert.True(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, publish("data")))
	assert.False(t, iotpolicy.Allowed([]*iotpolicy.Document{document}, publish("other")))
}
