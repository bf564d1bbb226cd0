package diagnosis_test

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov/internal/amazonroots"
	"github.com/fleetprov/fleetprov/internal/diagnosis"
	"github.com/fleetprov/fleetprov/internal/link"
	"github.com/fleetprov/fleetprov/internal/tlsdial"
)

// Nobody here can make what Amazon's roots sign, but they have signed themselves.
func TestRootsOfAmazonThatAreLeftOut(t *testing.T) {
	for _, root := range amazonroots.Certificates() {
		t.Run(root.Subject.CommonName, func(t *testing.T) {
			failure := &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{root}, Err: x509.UnknownAuthorityError{Cert: root}}
			unopen := &link.DialError{Err: &tlsdial.HandshakeError{Err: failure, Local: true}}
			unopen.Endpoint.Host = "xxxxxxxx-ats.iot.eu-west-1.amazonaws.com"
			err := diagnosis.Explain(t.Context(), &diagnosis.Connect{}, unopen, time.Now())
			assert.ErrorContains(t, err, strconv.Quote(root.Subject.String())+`, which is Amazon's: add it to the roots of WithRootCAs or WithTLSConfig`)
			assert.NotContains(t, err.Error(), "inspect")
			assert.ErrorIs(t, err, failure)
			assert.True(t, diagnosis.IsTLSRefusal(err))
		})
	}
}
