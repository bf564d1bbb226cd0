package pfx

import "errors"

// bmpString is the password as RFC 7292 appendix B.1 wants it: UTF-16, big
// endian, ended by a zero. go-pkcs12 has no surrogates.
func bmpString(password string) ([]byte, error) {
	var bmp []byte
	for _, r := range password {
		if r > 0xffff {
			return nil, errors.New("a password with characters above U+FFFF, such as emoji, is not supported")
		}
		bmp = append(bmp, byte(r>>8), byte(r))
	}
	return append(bmp, 0, 0), nil
}
