package pfx

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// passphrase is a password in the two forms that keys are derived from.
type passphrase struct {
	utf16 []byte // RFC 7292 appendix B.1: big endian, ended by a zero
	bytes []byte // what PBKDF2 takes
}

// passphrases returns the forms that programs give a password: that of the
// standards first, and for one that is not ASCII those of programs that do not
// look at its encoding.
func passphrases(password string) []passphrase {
	runes := []rune(password)
	bytewise := make([]rune, len(password))
	for i := range len(password) {
		bytewise[i] = rune(password[i])
	}
	asIs := []byte(password)
	switch {
	case password == "": // to some it is a BMPString without the zero
		return []passphrase{{[]byte{0, 0}, nil}, {nil, nil}}
	case !utf8.ValidString(password): // OpenSSL takes it to be Latin-1
		return []passphrase{{encodeUTF16(bytewise), asIs}}
	case len(runes) == len(password): // ASCII
		return []passphrase{{encodeUTF16(runes), asIs}}
	}
	forms := []passphrase{
		{encodeUTF16(runes), asIs},
		{encodeUTF16(bytewise), asIs}, // OpenSSL before 1.1, PKI.js
	}
	if latin1, ok := encodeLatin1(runes); ok { // OpenSSL in a Latin-1 terminal
		forms = append(forms, passphrase{encodeUTF16(runes), latin1})
	}
	return forms
}

// doubt is what a wrong password may come from.
func (c *container) doubt() string {
	if p := c.passphrases[0]; !utf8.Valid(p.bytes) && len(c.passphrases) == 1 {
		return "; the password is not UTF-8, which programs read differently"
	}
	return ""
}

func encodeUTF16(runes []rune) []byte {
	var out []byte
	for _, unit := range utf16.Encode(runes) {
		out = binary.BigEndian.AppendUint16(out, unit)
	}
	return append(out, 0, 0)
}

func encodeLatin1(runes []rune) (latin1 []byte, ok bool) {
	for _, r := range runes {
		if r > 0xff {
			return nil, false
		}
		latin1 = append(latin1, byte(r))
	}
	return latin1, true
}
