package fleetprovtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"sync"

	"github.com/fleetprov/fleetprov/internal/testca"
)

// sharedAuthorities are what the servers in this process have in common, because RSA keys
// and signatures take long. Servers are no less distinct for it: the root of each has a key
// of its own, and each knows only the certificates that it has issued.
type sharedAuthorities struct {
	devices         *testca.CA // signs the certificates of devices
	highest, lowest *testca.CA // of those below the root of a server, the one that signs its certificate being the lowest
	server          *rsa.PrivateKey
}

// deviceIssuer is the name of the authority that signs the certificates of AWS IoT. All of
// it is one attribute.
var deviceIssuer = pkix.Name{OrganizationalUnit: []string{"Amazon Web Services O=Amazon.com Inc. L=Seattle ST=Washington C=US"}}

// serverChain are the authorities between the server's certificate and its root, from
// above. AWS IoT sends three: the one that has signed the certificate of the endpoint, the
// Amazon root above it, and the older root that has signed that one, too
// (server-authentication).
var serverChain = []string{
	"fleetprovtest Services Root Certificate Authority - G2",
	"fleetprovtest Root CA 1",
	"fleetprovtest RSA 2048 M01",
}

func chainName(i int) pkix.Name {
	return pkix.Name{Country: []string{"US"}, Organization: []string{"fleetprovtest"}, CommonName: serverChain[i]}
}

var shared = sync.OnceValue(func() sharedAuthorities {
	var authority, server *rsa.PrivateKey
	var making sync.WaitGroup
	for _, key := range []**rsa.PrivateKey{&authority, &server} {
		making.Go(func() { *key = newRSAKey() })
	}
	making.Wait()
	highest := testca.NewRoot(chainName(0), authority).Public("trust.fleetprovtest.invalid")
	return sharedAuthorities{
		devices: testca.NewRoot(deviceIssuer, authority),
		highest: highest,
		lowest:  highest.Intermediate(chainName(1), authority).Intermediate(chainName(2), authority),
		server:  server,
	}
})

func newRSAKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("fleetprovtest: make an RSA key: " + err.Error())
	}
	return key
}
