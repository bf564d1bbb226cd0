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
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
)

var (
	//go:embed amazon-root-ca-1.pem
	amazonRootCA1 []byte
	//go:embed amazon-root-ca-2.pem
	amazonRootCA2 []byte
	//go:embed amazon-root-ca-3.pem
	amazonRootCA3 []byte
	//go:embed amazon-root-ca-4.pem
	amazonRootCA4 []byte
	//go:embed starfield-services-root-g2.pem
	starfieldServicesRootG2 []byte
)

// Certificates returns Amazon Root CA 1 to 4 and Starfield Services Root
// Certificate Authority - G2. They are parsed at the first call; each call returns
// a slice of its own that shares the parsed certificates.
func Certificates() []*x509.Certificate {
	return slices.Clone(certificates())
}

var certificates = sync.OnceValue(func() []*x509.Certificate {
	var roots []*x509.Certificate
	for _, file := range [][]byte{amazonRootCA1, amazonRootCA2, amazonRootCA3, amazonRootCA4, starfieldServicesRootG2} {
		root, err := parse(file)
		if err != nil {
			// The files are part of the program: only a build can break them.
			panic(fmt.Sprintf("amazonroots: root %d: %v", len(roots)+1, err))
		}
		roots = append(roots, root)
	}
	return roots
})

func parse(file []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
