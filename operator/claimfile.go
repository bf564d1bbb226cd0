package operator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// claimFiles are where a claim goes on the operator's machine. Only the operator can read
// them.
type claimFiles struct {
	pfx string // what the device gets
}

func (f claimFiles) beside(extension string) string {
	return strings.TrimSuffix(f.pfx, filepath.Ext(f.pfx)) + extension
}

// password has the password of the PFX.
func (f claimFiles) password() string { return f.beside(".password") }

// pending has the key of a claim that is being made, from before AWS hears of it until the
// claim is complete.
func (f claimFiles) pending() string { return f.beside(".pending") }

// check fails if a claim would overwrite another, or have no name of its own.
func (f claimFiles) check() error {
	if f.pfx == f.password() || f.pfx == f.pending() {
		return fmt.Errorf("%s cannot be the file of a claim: choose a name that ends in .pfx", f.pfx)
	}
	if _, err := os.Stat(f.pending()); err == nil {
		return nil // that of an earlier attempt is completed
	}
	for _, path := range []string{f.pfx, f.password()} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already, and may be the only copy of a claim: move it away, or choose another file with -out", path)
		}
	}
	return nil
}

// owner is whose claim is being made. The file of its key says so, so that teardown knows it
// from another fleet's.
type owner struct{ account, region, policy string }

func (o owner) headers() map[string]string {
	return map[string]string{"Account": o.account, "Region": o.region, "Policy": o.policy}
}

// pendingKey is the key of a claim that is being made. begun is zero if there was none yet.
type pendingKey struct {
	signer crypto.Signer
	begun  time.Time
}

// key returns the key of the claim that is being made, and makes one if there is none.
func (f claimFiles) key(of owner) (pendingKey, error) {
	found, err := f.readPending()
	if !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pendingKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return pendingKey{}, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: of.headers(), Bytes: der})
	return pendingKey{signer: made}, writeSecret(f.pending(), data)
}

// others returns the files of the owner's other claims in the same directory that are not
// complete.
func (f claimFiles) others(of owner) []claimFiles {
	directory := filepath.Dir(f.pfx)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil // as if there were none: nothing can be written there either
	}
	var found []claimFiles
	for _, entry := range entries {
		other := claimFiles{filepath.Join(directory, entry.Name())}
		if filepath.Ext(other.pfx) != ".pending" || other.pfx == filepath.Clean(f.pending()) {
			continue
		}
		data, err := os.ReadFile(other.pfx)
		if err != nil {
			continue
		}
		if block, _ := pem.Decode(data); block != nil && maps.Equal(block.Headers, of.headers()) {
			found = append(found, other)
		}
	}
	return found
}

func (f claimFiles) readPending() (pendingKey, error) {
	data, err := os.ReadFile(f.pending())
	if err != nil {
		return pendingKey{}, err
	}
	info, err := os.Stat(f.pending())
	if err != nil {
		return pendingKey{}, err
	}
	damaged := fmt.Errorf("%s is no private key any more: delete it, and look with doctor for a claim that is inactive", f.pending())
	block, _ := pem.Decode(data)
	if block == nil {
		return pendingKey{}, damaged
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return pendingKey{}, damaged
	}
	return pendingKey{signer, info.ModTime()}, nil
}

// write writes the PFX under a password of its own.
func (f claimFiles) write(claim *Claim, root *x509.Certificate) error {
	password := NewPassword()
	data, err := claim.PFX(password, root)
	if err != nil {
		return err
	}
	if err := writeSecret(f.password(), []byte(password+"\n")); err != nil {
		return err
	}
	return writeSecret(f.pfx, data)
}

// WritePFX writes the claim as a PFX to file, and its password, which is drawn at random, to
// the file of the same name that ends in .password. Only the user can read them. Files that
// are there are replaced. The root is as for [Claim.PFX].
func (c *Claim) WritePFX(file string, root *x509.Certificate) error {
	return claimFiles{file}.write(c, root)
}

// NewPassword returns a password for a PFX: 26 letters and digits, drawn at random (130 bits).
func NewPassword() string { return rand.Text() }

// writeSecret writes a file that only the user can read. It is there whole or not at all.
func writeSecret(path string, data []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if gone := os.Remove(temporary.Name()); !errors.Is(gone, fs.ErrNotExist) { // it may be renamed
				err = errors.Join(err, gone)
			}
		}
	}()
	_, err = temporary.Write(data)
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes a rename outlast a power cut. Windows cannot do that.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
