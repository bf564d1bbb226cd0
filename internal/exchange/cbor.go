package exchange

import (
	"reflect"

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
	encoding, err := cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode()
	if err != nil {
		panic(err) // constant options
	}
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
	return Format{Name: "cbor", Marshal: encoding.Marshal, Unmarshal: decoding.Unmarshal}
}
