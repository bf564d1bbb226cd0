package exchange

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// The bounds of what is decoded. An answer is one map of a few texts.
const (
	maxNested = 8
	maxItems  = 1024
)

// CBOR returns the format of the topics that end in /cbor. It is a function, so
// that a program that does not call it does not link the decoder.
func CBOR() Format {
	decoding, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  maxNested,
		MaxArrayElements: maxItems,
		MaxMapPairs:      maxItems,
		TagsMd:           cbor.TagsForbidden,
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err) // constant options
	}
	return Format{Name: "cbor", Marshal: marshalCBOR, Unmarshal: decoding.Unmarshal}
}

// The major types of RFC 8949, section 3.1, that a request is made of.
const (
	cborText = 3 << 5
	cborMap  = 5 << 5
)

// marshalCBOR encodes a request. The library's encoder takes any type there is,
// and 190 kB of a device's flash for it.
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
