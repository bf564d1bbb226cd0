package fleetprovtest

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
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

// deviceIssuer is the name of the authority that signs the certificates of AWS IoT. All of
// it is one attribute.
var deviceIssuer = pkix.Name{OrganizationalUnit: []string{"Amazon Web Services O=Amazon.com Inc. L=Seattle ST=Washington C=US"}}

func newAuthority() *authority {
	deviceCA := testca.NewRoot(deviceIssuer, sharedKeys().authority)
	return &authority{
		serverCA: testca.New("fleetprovtest server root"),
		deviceCA: deviceCA,
		claim:    deviceCA.Client(iotservice.CertificateName, testca.Validity{}),
	}
}

// serverChain are the authorities between the server's certificate and its root, from
// above. AWS IoT sends three: the one that has signed the certificate of the endpoint, the
// Amazon root above it, and the older root that has signed that one, too
// (server-authentication).
var serverChain = []string{
	"fleetprovtest Services Root Certificate Authority - G2",
	"fleetprovtest Root CA 1",
	"fleetprovtest RSA 2048 M01",
}

// serverCertificate returns a certificate for hosts with its chain, as large as those of
// AWS IoT: 4.4 kB.
func (a *authority) serverCertificate(hosts ...string) tls.Certificate {
	issuer := a.serverCA.Public("trust.fleetprovtest.invalid")
	for _, name := range serverChain {
		subject := pkix.Name{Country: []string{"US"}, Organization: []string{"fleetprovtest"}, CommonName: name}
		issuer = issuer.Intermediate(subject, sharedKeys().authority)
	}
	return issuer.ServerWithKey(sharedKeys().server, testca.Validity{}, hosts...)
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
