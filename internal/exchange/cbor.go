package exchange

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// CBOR is the format of the topics that end in /cbor. It is encoded and decoded here,
// since the API needs only maps of strings, and a general library costs flash even in
// programs that do not use CBOR: its initialisation is always linked.
var CBOR = Format{Name: "cbor", Marshal: marshalCBOR, Unmarshal: unmarshalCBOR}

// The major types of RFC 8949, section 3.1.
const (
	cborUnsigned = iota << 5
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

// marshalCBOR encodes a request.
func marshalCBOR(fields map[string]any) ([]byte, error) {
	b := appendHead(nil, cborMap, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b = appendText(b, name)
		switch value := fields[name].(type) {
		case string:
			b = appendText(b, value)
		case map[string]string:
			b = appendHead(b, cborMap, len(value))
			for _, key := range slices.Sorted(maps.Keys(value)) {
				b = appendText(appendText(b, key), value[key])
			}
		default:
			return nil, fmt.Errorf("a request has no fields of type %T", value)
		}
	}
	return b, nil
}

func appendText(b []byte, text string) []byte {
	return append(appendHead(b, cborText, len(text)), text...)
}

// appendHead appends the shortest head of an item (RFC 8949, section 3).
func appendHead(b []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
}
