package pfx

import "slices"

// reexport says how to take key and certificates out of a file that OpenSSL 3
// opens and to make a new one of them, with AES-256. OpenSSL 3 has some
// algorithms behind an option that others do not know, and takes no armour.
func (c *container) reexport() string {
	openssl, file, undo := "OpenSSL 3", "claim.pfx", "rm claim.pem"
	commands, options := "", ""
	if c.armored {
		commands = "openssl asn1parse -inform PEM -in claim.pfx -noout -out claim.der && "
		file, undo = "claim.der", "rm claim.pem claim.der"
	}
	if slices.ContainsFunc(c.uses, func(u use) bool { return u.openSSL() == legacyOpenSSL }) {
		options = "-legacy "
	}
	if c.mac != nil && c.mac.derivation.pbkdf2 {
		openssl = "OpenSSL 3.4 or later"
	}
	return "re-export the file with " + openssl + ": " + commands +
		"openssl pkcs12 " + options + "-in " + file + " -nodes -out claim.pem" +
		" && openssl pkcs12 -export -in claim.pem -out claim-new.pfx" +
		" && " + undo
}
