// Package pfx turns a PKCS#12 (PFX) file into a private key, the certificate
// that belongs to it, the certificates that issued that one, and the server
// roots that came along.
//
// It takes what OpenSSL, Java, GnuTLS, NSS and others make of RFC 7292, and
// refuses what would cost a small device more time or memory than a claim is
// worth. It decrypts files itself, since a decoder that only hands out whole
// files can neither leave a certificate out nor look at an iteration count that
// was encrypted. go-pkcs12 makes the files of [Encode].
package pfx

import (
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"errors"
	"fmt"
)

// The limits of a file. The largest honest ones are a public CA bundle exported
// along with the claim (some 150 certificates in 170 KB) and the 600,000
// iterations of GnuTLS and NSS.
const (
	maxFile         = 256 << 10  // bytes, PEM armour included
	maxIterations   = 10_000_000 // for one key
	maxWork         = 12_000_000 // hashes for all keys of a file: about a second on a desktop
	maxSafes        = 64         // GnuTLS makes one for each certificate
	maxKey          = 16 << 10   // bytes; an RSA key of 16384 bits takes 9.3 KB
	maxCertificates = 256
)

// ErrIncorrectPassword means that the password does not open the file. The
// format cannot always tell a wrong password from damage; the message of the
// error that wraps this one then names both.
var ErrIncorrectPassword = errors.New("incorrect password")

// Bundle is what a PKCS#12 file holds.
type Bundle struct {
	// Key is the private key: RSA, ECDSA or Ed25519.
	Key crypto.Signer
	// Leaf is the certificate whose public key is that of Key, wherever it
	// stands in the file. If several are, because the certificate was renewed
	// for the same key, it is the one that is valid longest.
	Leaf *x509.Certificate
	// Chain is the issuer of Leaf, the issuer of that one, and so on, as far as
	// the file has them. A self-signed CA that Leaf leads to ends it. It is
	// empty if the file does not have the issuer.
	Chain []*x509.Certificate
	// Roots are the self-signed CAs that are not in Chain, in the order of the
	// file: the roots that the device trusts a server by.
	Roots []*x509.Certificate
}

// Parse opens a PKCS#12 file: DER or BER, bare or in PEM armour, with or without
// bytes after its end. Certificates that are neither leaf, chain nor root are
// dropped, and so are those that [x509.ParseCertificate] refuses.
//
// A file opened with a password is authenticated by it, roots included: a file
// without a MAC is opened with the empty password only.
//
// Parse refuses files of more than 256 KiB, 256 certificates or 64 safes,
// iteration counts above 10,000,000, and counts that together take more than
// 12,000,000 hashes. Errors are one line, and none contains the password or a
// part of the key. A password that does not open the file is
// [ErrIncorrectPassword].
func Parse(data []byte, password string) (*Bundle, error) {
	return parse(data, password, maxWork)
}

func parse(data []byte, password string, limit int64) (bundle *Bundle, err error) {
	defer func() {
		// With GODEBUG=fips140=only the standard library panics where a file
		// asks for a hash or a cipher that FIPS 140 does not approve.
		if r := recover(); r != nil {
			if !fips140.Enabled() {
				panic(r)
			}
			bundle, err = nil, errNotApproved()
		}
	}()
	der, armored, err := unwrap(data)
	if err != nil {
		return nil, err
	}
	c, err := readContainer(der)
	if err != nil {
		return nil, err
	}
	c.armored = armored
	c.passphrases = passphrases(password)
	c.work.left = limit
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.mac != nil {
		if err := c.authenticate(); err != nil {
			return nil, err
		}
	}
	bundle, err = c.open()
	if err == nil && c.mac == nil && password != "" {
		return nil, c.noMAC()
	}
	return bundle, err
}

// noMAC says why a file without a MAC is not opened with a password.
func (c *container) noMAC() error {
	advice := ""
	if len(c.uses) == 0 {
		advice = "open it with the empty password, or "
	}
	return fmt.Errorf("the file has no MAC, so that no password protects its certificates: %s%s", advice, c.reexport())
}
