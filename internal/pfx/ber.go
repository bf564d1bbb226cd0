package pfx

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxDepth limits the nesting of elements. The parameters of an encrypted safe
// are the deepest, at 11.
const maxDepth = 16

// toDER re-encodes the first element of ber, and those inside it, with definite
// lengths and with OCTET STRINGs in one piece. NSS writes indefinite lengths and
// strings in pieces (X.690, 8.1.3.6 and 8.7.3), which no reader of DER takes.
// What is DER already comes back byte for byte. Bytes after the element are
// dropped.
func toDER(ber []byte) (der []byte, ok bool) {
	der, _, ok = appendDER(make([]byte, 0, len(ber)), ber, maxDepth)
	return der, ok
}

// appendDER appends the first element of ber to der and returns what follows it.
func appendDER(der, ber []byte, depth int) (out, rest []byte, ok bool) {
	if depth == 0 || len(ber) < 2 || ber[0]&0x1f == 0x1f { // PKCS#12 has no tag numbers above 30
		return nil, nil, false
	}
	tag, body, rest, indefinite, ok := cutHeader(ber)
	if !ok {
		return nil, nil, false
	}
	const constructed = 0x20
	if tag&constructed == 0 {
		return append(appendHeader(der, tag, len(body)), body...), rest, true
	}
	joined := tag == byte(asn1.OCTET_STRING)|constructed
	if joined {
		tag = byte(asn1.OCTET_STRING)
	}
	start := len(der)
	for {
		if indefinite && len(body) >= 2 && body[0] == 0 && body[1] == 0 {
			rest = body[2:]
			break
		}
		if !indefinite && len(body) == 0 {
			break
		}
		child := len(der)
		if der, body, ok = appendDER(der, body, depth-1); !ok {
			return nil, nil, false
		}
		if joined {
			piece := cryptobyte.String(der[child:])
			if !piece.ReadASN1(&piece, asn1.OCTET_STRING) {
				return nil, nil, false
			}
			der = append(der[:child], piece...)
		}
	}
	header := appendHeader(nil, tag, len(der)-start)
	return slices.Insert(der, start, header...), rest, true
}

// cutHeader reads tag and length. The body of an element of indefinite length is
// all that follows, its end included.
func cutHeader(ber []byte) (tag byte, body, rest []byte, indefinite, ok bool) {
	tag, length, body := ber[0], int(ber[1]), ber[2:]
	if length == 0x80 {
		return tag, body, nil, true, tag&0x20 != 0
	}
	if length > 0x80 {
		size := length & 0x7f
		if size > 4 || size > len(body) {
			return 0, nil, nil, false, false
		}
		length = 0
		for _, b := range body[:size] {
			length = length<<8 | int(b)
		}
		body = body[size:]
	}
	if length < 0 || length > len(body) {
		return 0, nil, nil, false, false
	}
	return tag, body[:length], body[length:], false, true
}

func appendHeader(der []byte, tag byte, length int) []byte {
	switch {
	case length < 1<<7:
		return append(der, tag, byte(length))
	case length < 1<<8:
		return append(der, tag, 0x81, byte(length))
	case length < 1<<16:
		return append(der, tag, 0x82, byte(length>>8), byte(length))
	default: // maxFile is less than 1<<24
		return append(der, tag, 0x83, byte(length>>16), byte(length>>8), byte(length))
	}
}
