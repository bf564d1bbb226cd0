package proxy

import (
	"net/url"
	"slices"
	"strings"
)

// secrets are what a proxy knows of its user, and may send back in words that go into
// an error.
type secrets []string

// secretsOf returns the user and the password of u, and the two as they are sent.
func secretsOf(u *url.URL, credentials string) secrets {
	hidden := secrets{credentials}
	if u.User != nil {
		password, _ := u.User.Password()
		hidden = append(hidden, u.User.Username(), password)
	}
	return slices.DeleteFunc(hidden, func(s string) bool { return s == "" })
}

// in reports whether text holds a secret as it is, or with any of its bytes
// percent-encoded, as in a URL or in a form.
func (s secrets) in(text string) bool {
	decoded := percentDecoded(text)
	spaced := percentDecoded(strings.ReplaceAll(text, "+", " "))
	return slices.ContainsFunc(s, func(secret string) bool {
		return strings.Contains(text, secret) || strings.Contains(decoded, secret) || strings.Contains(spaced, secret)
	})
}

// percentDecoded replaces what is a percent-encoded byte, and leaves the rest:
// [url.PathUnescape] refuses a text in which one percent sign encodes nothing.
func percentDecoded(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if decoded, err := url.PathUnescape(text[i : i+3]); err == nil {
				b.WriteString(decoded)
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
