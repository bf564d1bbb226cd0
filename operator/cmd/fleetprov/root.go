package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// readRoot reads a certificate in PEM. It returns nil if there is no path.
func readRoot(path string) (*x509.Certificate, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s is no certificate in PEM", path)
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return root, nil
}

const rootUsage = "root certificate of the endpoint, a PEM `file`, which devices trust besides Amazon's roots\n(default Amazon Root CA 1)"
