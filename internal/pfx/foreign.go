package pfx

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// makePFX is how to make a PKCS#12 file of the parts that AWS gives.
const makePFX = "make one of the certificate and its key with OpenSSL: " +
	"openssl pkcs12 -export -in certificate.pem.crt -inkey private.pem.key -certfile AmazonRootCA1.pem -out claim-new.pfx"

// notPKCS12 says what the file holds instead, and how to make it a PKCS#12 file.
func notPKCS12(what string) error {
	return fmt.Errorf("the file holds %s, not PKCS#12: %s", what, makePFX)
}

// notPKCS7 is for certificates in a signature of nothing, as certification
// authorities hand them out.
func notPKCS7(form string) error {
	return fmt.Errorf("the file holds certificates without a private key (PKCS#7, .p7b), not PKCS#12: put them together with the key: "+
		"openssl pkcs7 -inform %s -in claim.pfx -print_certs -out claim.pem && "+
		"openssl pkcs12 -export -in claim.pem -inkey private.pem.key -certfile AmazonRootCA1.pem -out claim-new.pfx && rm claim.pem", form)
}

// notKeystore is for keystores of Java and others, which need their own program.
func notKeystore(what, options string) error {
	return fmt.Errorf("the file is %s, not PKCS#12: convert it: "+
		"keytool -importkeystore -srckeystore claim.pfx %s-destkeystore claim-new.pfx -deststoretype PKCS12", what, options)
}

// bouncyCastle has keytool load what Java does not come with.
const bouncyCastle = "-providerclass org.bouncycastle.jce.provider.BouncyCastleProvider -providerpath bcprov.jar "

// checkArmor refuses a type of PEM block that is not PKCS#12 for certain.
func checkArmor(blockType string) error {
	for _, known := range []struct{ suffix, what string }{
		{"ENCRYPTED PRIVATE KEY", "an encrypted private key (PKCS#8)"},
		{"PRIVATE KEY", "a private key"},
		{"PUBLIC KEY", "a public key"},
		{"CERTIFICATE REQUEST", "a certificate signing request"},
		{"CERTIFICATE", "a certificate"},
	} {
		if strings.HasSuffix(blockType, known.suffix) {
			return notPKCS12(known.what + " in PEM")
		}
	}
	if blockType == "PKCS7" || blockType == "CMS" {
		return notPKCS7("PEM")
	}
	return nil
}

// checkFormat refuses DER that is another format for certain. PKCS#12 begins
// with a version of 3.
func checkFormat(der cryptobyte.String) error {
	var outer, first, second cryptobyte.String
	var version int
	if !der.ReadASN1(&outer, tag.SEQUENCE) {
		return damaged("outer structure")
	}
	if outer.PeekASN1Tag(tag.OBJECT_IDENTIFIER) {
		return checkContentInfo(outer)
	}
	if outer.PeekASN1Tag(tag.INTEGER) {
		if outer.ReadASN1Integer(&version) && (version == 0 || version == 1) { // of PKCS#1, PKCS#8 and SEC 1
			return notPKCS12("what may be a private key in DER")
		}
		return nil
	}
	if !outer.ReadASN1(&first, tag.SEQUENCE) {
		return nil
	}
	switch {
	case first.PeekASN1Tag(tag.OBJECT_IDENTIFIER) && outer.PeekASN1Tag(tag.OCTET_STRING):
		return notPKCS12("an encrypted private key in DER (PKCS#8)")
	case first.PeekASN1Tag(tag.OBJECT_IDENTIFIER):
		return notPKCS12("what may be a public key in DER")
	case first.ReadASN1(&second, tag.SEQUENCE) && second.PeekASN1Tag(tag.OBJECT_IDENTIFIER):
		return notKeystore("a Bouncy Castle keystore (BCFKS)", "-srcstoretype BCFKS "+bouncyCastle)
	}
	return notPKCS12("what may be a certificate in DER")
}

// checkContentInfo names what is PKCS#7 or CMS.
func checkContentInfo(info cryptobyte.String) error {
	var id asn1.ObjectIdentifier
	if !info.ReadASN1ObjectIdentifier(&id) {
		return damaged("outer structure")
	}
	if id.Equal(oidSignedData) {
		return notPKCS7("DER")
	}
	return notPKCS12("a message in PKCS#7 or CMS")
}

// describe says what data is that does not begin as PKCS#12 does.
func describe(data []byte) string {
	const not = "not a PKCS#12 file"
	has := func(prefix string) bool { return bytes.HasPrefix(data, []byte(prefix)) }
	switch {
	case has("\xfe\xed\xfe\xed"):
		return notKeystore("a Java keystore (JKS)", "-srcstoretype JKS ").Error()
	case has("\xce\xce\xce\xce"):
		return notKeystore("a Java keystore (JCEKS)", "-srcstoretype JCEKS ").Error()
	case has("\x00\x00\x00\x01\x00\x00\x00\x14"): // version, length of the salt
		return notKeystore("a Bouncy Castle keystore (UBER, or BKS of version 1)", "-srcstoretype UBER "+bouncyCastle).Error()
	case has("\x00\x00\x00\x02\x00\x00\x00\x14"):
		return notKeystore("a Bouncy Castle keystore (BKS)", "-srcstoretype BKS "+bouncyCastle).Error()
	case has("SQLite format 3\x00"):
		return not + " but a database, as NSS keeps certificates in: export the certificate with its key: pk12util -d sql:DIRECTORY -n NAME -o claim.pfx"
	case has("PK\x03\x04"):
		return not + " but a zip archive: unpack it first"
	case has("MI"): // 30 8x, a SEQUENCE of 128 bytes or more, or of indefinite length
		options := "-A "
		if bytes.ContainsRune(bytes.TrimSpace(data), '\n') {
			options = ""
		}
		return not + " but what seems to be one in base64: decode it: openssl base64 -d " + options + "-in claim.pfx -out claim-new.pfx"
	case utf8.Valid(data) && !bytes.ContainsRune(data, 0):
		return not + " but text"
	}
	return not
}
