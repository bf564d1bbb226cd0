package fleetprovtest

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fleetprov/fleetprov/internal/iotservice"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// authority holds the keys that the server and its clients prove themselves with. It
// does not change, so nothing guards it.
type authority struct {
	serverCA *testca.CA // the root of the server's certificate
	deviceCA *testca.CA // of the claim, and of the certificates that are issued
	claim    tls.Certificate
}

func newAuthority() *authority {
	deviceCA := shared().devices
	return &authority{
		serverCA: testca.New("fleetprovtest server root"),
		deviceCA: deviceCA,
		claim:    deviceCA.Client(iotservice.CertificateName, testca.Validity{}),
	}
}

// serverCertificate returns a certificate for hosts with its chain, as large as those of
// AWS IoT: 4.4 kB.
func (a *authority) serverCertificate(hosts ...string) tls.Certificate {
	issuer := shared().lowest.CrossSigned(shared().highest, a.serverCA.Public("trust.fleetprovtest.invalid"))
	return issuer.ServerWithKey(shared().server, testca.Validity{}, hosts...)
}

// claimPFX returns the claim as a PFX file that also holds the server's root.
func (a *authority) claimPFX(password string) []byte {
	roots := []*x509.Certificate{a.serverCA.Certificate()}
	pfx, err := pkcs12.Modern2023.Encode(a.claim.PrivateKey, a.claim.Leaf, roots, password)
	if err != nil {
		panic("fleetprovtest: encode the claim: " + err.Error())
	}
	return pfx
}

// authorityRecord is an authority in the form in which it is kept as JSON.
type authorityRecord struct {
	ServerCA, DeviceCA         string // PEM
	ClaimCertificate, ClaimKey []byte // DER
}

func (a *authority) record() *authorityRecord {
	key, err := x509.MarshalPKCS8PrivateKey(a.claim.PrivateKey)
	if err != nil {
		panic("fleetprovtest: encode the claim's key: " + err.Error())
	}
	return &authorityRecord{
		ServerCA:         string(a.serverCA.MarshalPEM()),
		DeviceCA:         string(a.deviceCA.MarshalPEM()),
		ClaimCertificate: a.claim.Leaf.Raw,
		ClaimKey:         key,
	}
}

// authority returns the authority that was kept. Its errors never quote a key.
func (r *authorityRecord) authority() (*authority, error) {
	serverCA, err := testca.Parse([]byte(r.ServerCA))
	if err != nil {
		return nil, err
	}
	deviceCA, err := testca.Parse([]byte(r.DeviceCA))
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(r.ClaimCertificate)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(r.ClaimKey)
	if err != nil {
		return nil, errors.New("the key of the claim cannot be read")
	}
	ecKey, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ecKey.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the key does not belong to the claim")
	}
	claim := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return &authority{serverCA, deviceCA, claim}, nil
}
