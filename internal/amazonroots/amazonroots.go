// Package amazonroots holds the root certificates that AWS IoT's servers chain to,
// so that a device needs no certificate store of its own.
//
// All five are needed: which one serves a connection depends on the negotiated
// suite and on the chain the server sends (AWS: transport-security, server
// authentication).
package amazonroots

import (
	"crypto/x509"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
)

//go:embed *.pem
var files embed.FS

// Certificates returns Amazon Root CA 1 to 4 and Starfield Services Root
// Certificate Authority - G2. They are parsed at the first call; each call returns
// a slice of its own that shares the parsed certificates.
func Certificates() []*x509.Certificate {
	return slices.Clone(certificates())
}

var certificates = sync.OnceValue(func() []*x509.Certificate {
	var roots []*x509.Certificate
	for _, name := range []string{
		"amazon-root-ca-1.pem",
		"amazon-root-ca-2.pem",
		"amazon-root-ca-3.pem",
		"amazon-root-ca-4.pem",
		"starfield-services-root-g2.pem",
	} {
		root, err := parse(name)
		if err != nil {
			// The files are part of the program: only a build can break them.
			panic(fmt.Sprintf("amazonroots: %s: %v", name, err))
		}
		roots = append(roots, root)
	}
	return roots
})

func parse(name string) (*x509.Certificate, error) {
	data, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
