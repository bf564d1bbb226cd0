package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/fleetprov/fleetprov"
)

// claimLabel is where the claim's key is in the token.
const claimLabel = "claim"

// claimInToken returns the claim whose key is in the token. Its certificate is the first
// in a PEM file. Others in that are roots of the server, which Amazon's endpoints do not
// need.
func claimInToken(ctx context.Context, keyring fleetprov.Keyring, file string) (*fleetprov.Identity, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the claim's certificate: %w", err)
	}
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	key, err := keyring.Key(ctx, claimLabel)
	if err != nil {
		return nil, err
	}
	claim := tls.Certificate{Certificate: [][]byte{certificates[0].Raw}, PrivateKey: key}
	return fleetprov.NewIdentity(claim, certificates[1:]...)
}
