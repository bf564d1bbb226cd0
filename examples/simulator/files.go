package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// The files in the directory.
const (
	rootFile        = "root-ca.pem"
	certificateFile = "claim.pem.crt"
	privateKeyFile  = "claim.pem.key"
	pfxFile         = "claim_identity.pfx"
	stateFile       = "state.jsonl"
)

// openDirectory makes the directory if there is none, for this user only, and
// returns its absolute path. It refuses one that has the files of another claim,
// which it would overwrite.
func openDirectory(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("making the directory: %w: name another with -dir", err)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		return dir, nil // the claim is the simulator's
	}
	for _, name := range []string{rootFile, certificateFile, privateKeyFile, pfxFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return "", fmt.Errorf("%s has a %s that is not the simulator's: name another directory with -dir", dir, name)
		}
	}
	return dir, nil
}

// writeClaim writes what the factory gives to a device, in both forms that clients
// take: PEM files, and a PFX with the same content.
func writeClaim(dir string, server *fleetprovtest.Server, password string) error {
	claim := server.ClaimCertificate()
	key, err := x509.MarshalPKCS8PrivateKey(claim.PrivateKey)
	if err != nil {
		return fmt.Errorf("encoding the claim's key: %w", err)
	}
	const public, private = 0o644, 0o600
	for _, file := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{rootFile, encodePEM("CERTIFICATE", server.RootCertificate().Raw), public},
		{certificateFile, encodePEM("CERTIFICATE", claim.Leaf.Raw), public},
		{privateKeyFile, encodePEM("PRIVATE KEY", key), private},
		{pfxFile, server.ClaimPFX(password), private},
	} {
		if err := replaceFile(filepath.Join(dir, file.name), file.data, file.mode); err != nil {
			return fmt.Errorf("writing the claim: %w: name another directory with -dir", err)
		}
	}
	return nil
}

func encodePEM(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

// replaceFile writes a new file, which others cannot read before it has its mode,
// and puts it in the place of the old one, even if that has another mode or is open.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(mode)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}
