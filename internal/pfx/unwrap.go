package pfx

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// sequence is the first byte of every PKCS#12 file, DER or BER.
const sequence = 0x30

// unwrap takes the PKCS#12 structure out of data, as DER: out of its PEM armour
// if it has one, and without the bytes that follow it.
func unwrap(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("the file has %d bytes, more than the %d that a PKCS#12 file may have", len(data), maxFile)
	}
	if data[0] != sequence {
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, errors.New(describe(data))
		}
		if what := pemContent(block.Type); what != "" {
			return nil, notPKCS12(what + " in PEM")
		}
		data = block.Bytes
	}
	der, ok := toDER(data)
	if !ok || der[0] != sequence {
		return nil, errors.New("not a PKCS#12 file, or one that is damaged or cut short")
	}
	return der, nil
}

// notPKCS12 says what the file holds instead, and how to make it a PKCS#12 file.
func notPKCS12(what string) error {
	return fmt.Errorf("the file holds %s, not PKCS#12: make one of the certificate and its key with OpenSSL: "+
		"openssl pkcs12 -export -in certificate.pem.crt -inkey private.pem.key -certfile AmazonRootCA1.pem -out claim.pfx", what)
}

// pemContent names what a PEM block of the given type holds, if it is not
// PKCS#12 for certain.
func pemContent(blockType string) string {
	switch {
	case strings.HasSuffix(blockType, "PRIVATE KEY"):
		return "a private key"
	case strings.HasSuffix(blockType, "PUBLIC KEY"):
		return "a public key"
	case strings.HasSuffix(blockType, "CERTIFICATE REQUEST"):
		return "a certificate signing request"
	case strings.HasSuffix(blockType, "CERTIFICATE"):
		return "a certificate"
	}
	return ""
}

// describe says what data is that does not begin as PKCS#12 does.
func describe(data []byte) string {
	const not = "not a PKCS#12 file"
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return not + " but a Java keystore: convert it: keytool -importkeystore -srckeystore claim.jks -destkeystore claim.pfx -deststoretype PKCS12"
	case bytes.HasPrefix(data, []byte("MI")): // 30 82, a SEQUENCE of 256 bytes or more
		return not + " but what seems to be one in base64: decode it: openssl base64 -d -A -in claim.txt -out claim.pfx"
	case utf8.Valid(data) && !bytes.ContainsRune(data, 0):
		return not + " but text"
	}
	return not
}
