package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fleetprov/fleetprov"
)

// The files of a provisioned device. The first holds everything, for
// fleetprov.ParseCredentials and for programs that read certificate and key from
// one file; the others are for programs that want two files.
const (
	credentialsFile = "credentials.pem"
	certificateFile = "certificate.pem.crt"
	privateKeyFile  = "private.pem.key"
)

// output is the directory the credentials go to.
type output struct {
	dir  string
	made bool // by this program
}

// openOutput makes the directory and checks that files can be made in it, before
// anything is asked for: AWS hands out a private key only once. It refuses a
// directory that has credentials, which may be the only copy.
func openOutput(dir string) (*output, error) {
	_, err := os.Stat(dir)
	out := &output{dir: dir, made: errors.Is(err, fs.ErrNotExist)}
	if err := out.check(); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

func (o *output) check() error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("the credentials could not be saved: %w: name another directory with -out", err)
	}
	for _, name := range []string{credentialsFile, certificateFile, privateKeyFile} {
		if _, err := os.Lstat(filepath.Join(o.dir, name)); err == nil {
			return fmt.Errorf("%s exists and is not overwritten: name another directory with -out, or move the file away",
				filepath.Join(o.dir, name))
		}
	}
	probe, err := os.CreateTemp(o.dir, "probe-")
	if err != nil {
		return fmt.Errorf("the credentials could not be saved: %w: name another directory with -out", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// save writes the credentials, readable only by the user.
func (o *output) save(c *fleetprov.Credentials) error {
	all, err := c.MarshalPEM()
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		data []byte
	}{
		{credentialsFile, all},
		{certificateFile, c.CertificatePEM},
		{privateKeyFile, c.PrivateKeyPEM()},
	} {
		if err := writeNew(filepath.Join(o.dir, file.name), file.data); err != nil {
			return fmt.Errorf("saving the credentials: %w: if %s is incomplete, deactivate the certificate %s and provision the device again",
				err, credentialsFile, c.CertificateID)
		}
	}
	return nil
}

// writeNew makes a file that only the user can read from its first moment, and
// returns when it is on the disk.
func writeNew(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// close removes the directory if this program made it and it has stayed empty.
func (o *output) close() {
	if o.made {
		os.Remove(o.dir)
	}
}
