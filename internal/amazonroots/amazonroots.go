// Package amazonroots holds the root certificates that AWS IoT's servers chain to,
// so that a device needs no certificate store of its own.
//
// All five are needed: which one serves a connection depends on the negotiated
// suite and on the chain the server sends (AWS: transport-security, server
// authentication).
package amazonroots

import (
	"crypto/x509"
	_ "embed"
	"slices"
	"sync"
)

// roots.der is Amazon Root CA 1 to 4 and Starfield Services Root Certificate
// Authority - G2, one behind the other in DER, which takes less room in a device's
// program than PEM. The test compares them with the fingerprints Amazon publishes.
//
//go:embed roots.der
var rootsDER []byte

// Certificates returns Amazon Root CA 1 to 4 and Starfield Services Root
// Certificate Authority - G2. They are parsed at the first call; each call returns
// a slice of its own that shares the parsed certificates.
func Certificates() []*x509.Certificate {
	return slices.Clone(certificates())
}

var certificates = sync.OnceValue(func() []*x509.Certificate {
	roots, err := x509.ParseCertificates(rootsDER)
	if err != nil { // the file is part of the program: only a build can break it
		panic("amazonroots: " + err.Error())
	}
	return roots
})
