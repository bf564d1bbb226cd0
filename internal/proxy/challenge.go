package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// basic is the one scheme that is spoken here, as offered writes it.
const basic = `"Basic"`

// knownSchemes are those that proxies use, as they are registered with IANA, and NTLM.
var knownSchemes = []string{"Basic", "Bearer", "Digest", "Negotiate", "NTLM"}

// The bounds of what is kept of the schemes.
const (
	maxSchemes = 8
	maxScheme  = 20
)

// offered returns the authentication schemes of the Proxy-Authenticate fields of
// header, fit for [RefusedError.Offered].
func offered(header http.Header, hidden secrets) []string {
	var names []string
	for _, field := range header.Values("Proxy-Authenticate") {
		for _, name := range schemesOf(field) {
			known := slices.IndexFunc(knownSchemes, func(k string) bool { return strings.EqualFold(k, name) })
			switch {
			case known >= 0:
				name = knownSchemes[known]
			case hidden.in(name):
				continue
			}
			name = strconv.Quote(name[:min(len(name), maxScheme)])
			if (known >= 0 || len(names) < maxSchemes) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// schemesOf returns the names of the schemes of a list of challenges. Commas stand both
// between challenges and between the parameters of one, which have a name and an
// equals sign (RFC 9110, section 11.6.1).
func schemesOf(field string) []string {
	var names []string
	for _, element := range splitList(field) {
		name, rest, _ := strings.Cut(strings.TrimSpace(element), " ")
		isParameter := strings.Contains(name, "=") || strings.HasPrefix(strings.TrimSpace(rest), "=")
		if name != "" && !isParameter {
			names = append(names, name)
		}
	}
	return names
}

// splitList splits at the commas outside of quoted strings, in which a backslash
// takes the next character as it is (RFC 9110, section 5.6.4).
func splitList(field string) []string {
	var elements []string
	quoted, begin := false, 0
	for i := 0; i < len(field); i++ {
		switch c := field[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			elements = append(elements, field[begin:i])
			begin = i + 1
		}
	}
	return append(elements, field[begin:])
}
