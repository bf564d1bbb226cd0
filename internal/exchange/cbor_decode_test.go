package exchange

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// RFC 8949, appendix A.
func TestCBORItems(t *testing.T) {
	for encoded, value := range map[string]any{
		"\x00":                                 uint64(0),
		"\x17":                                 uint64(23),
		"\x18\x18":                             uint64(24),
		"\x1b\xff\xff\xff\xff\xff\xff\xff\xff": uint64(math.MaxUint64),
		"\x20":                                 big.NewInt(-1),
		"\x39\x03\xe7":                         big.NewInt(-1000),
		"\xf9\x3c\x00":                         1.0,
		"\xf9\x7b\xff":                         65504.0,
		"\xf9\x00\x01":                         5.960464477539063e-8,
		"\xf9\xc4\x00":                         -4.0,
		"\xfa\x47\xc3\x50\x00":                 100000.0,
		"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a": 1.1,
		"\xf4":                                 false,
		"\xf5":                                 true,
		"\xf6":                                 nil,
		"\xf7":                                 nil,
		"\xf9\x7c\x00":                         nil, // infinity
		"\xf9\xfe\x00":                         nil, // not a number
		"\xfa\xff\x80\x00\x00":                 nil, // minus infinity
		"\xf0":                                 nil, // simple(16)
		"\xf8\xff":                             nil, // simple(255)
		"\x44\x01\x02\x03\x04":                 [][]byte{{1, 2, 3, 4}},
		"\x5f\x42\x01\x02\x41\x03\xff":         [][]byte{{1, 2, 3}},
		"\x62\xc3\xbc":                         "ü",
		"\x7f\x65strea\x64ming\xff":            "streaming",
		"\x83\x01\x02\x03":                     []any{uint64(1), uint64(2), uint64(3)},
		"\x9f\xff":                             []any{},
		"\xbf\x61a\x01\xff":                    map[string]any{"a": uint64(1)},
		"\xa2\x01\x02\x61a\x03":                map[string]any{"a": uint64(3)},
	} {
		d := cborDecoder{rest: []byte(encoded)}
		decoded, err := d.value(0)
		require.NoError(t, err, "%x", encoded)
		assert.Equal(t, value, decoded, "%x", encoded)
	}
}

func TestCBORItemsThatAreRefused(t *testing.T) {
	for encoded, problem := range map[string]string{
		"":                                     "truncated",
		"\x62a":                                "truncated",
		"\x82\x01":                             "truncated",
		"\x9f\x01":                             "truncated",
		"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff": "truncated",
		"\x1c":                                 "no CBOR item begins with 0x1c",
		"\x1f":                                 "no CBOR item begins with 0x1f",
		"\xdf":                                 "no CBOR item begins with 0xdf",
		"\xff":                                 "no CBOR item begins with 0xff",
		"\xf8\x14":                             "not well-formed",
		"\xc0\xa0":                             "tagged",
		"\x61\xff":                             "not UTF-8",
		"\x7f\x61\xc3\x61\xbc\xff":             "not UTF-8",
		"\x7f\x41a\xff":                        "a chunk of another type",
		"\x7f\x7f\xff\xff":                     "a chunk of another type",
		"\xbf\x61a\x01\x61a\x02\xff":           "a key twice",
		"\x00\x00":                             "there is data after the CBOR item",
		strings.Repeat("\x81", maxNested+1):    "nested more than 8 deep",
		"\x9f" + strings.Repeat("\x00", maxItems) + "\xff":          "more than 1024 CBOR items",
		"\x9f" + strings.Repeat("\xa1\x61a\x00", maxItems) + "\xff": "more than 1024 CBOR items",
	} {
		var decoded any
		err := unmarshalCBOR([]byte(encoded), &decoded)
		assert.ErrorContains(t, err, problem, "%x", encoded)
		assert.Nil(t, decoded)
	}
}

func TestCBORIsAcceptedUpToItsBounds(t *testing.T) {
	var decoded any
	assert.NoError(t, unmarshalCBOR([]byte(strings.Repeat("\x81", maxNested)+"\x00"), &decoded))
	assert.NoError(t, unmarshalCBOR([]byte("\x9f"+strings.Repeat("\x00", maxItems-1)+"\xff"), &decoded))
	assert.Len(t, decoded, maxItems-1)
}

// FuzzCBOR compares with a decoder that many use.
func FuzzCBOR(f *testing.F) {
	for _, seed := range []string{"\xa1\x61a\x61b", "\xbf\x61a\x9f\x01\xf9\x3c\x00\xff\xff", "\xa1\x7f\x61a\xff\x5f\x41\x00\xff", "\xa1\x61a\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa2\x61a\xf9\x7e\x00\x01\xf8\xff"} {
		f.Add([]byte(seed))
	}
	other, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  maxNested,
		MaxArrayElements: maxItems,
		MaxMapPairs:      maxItems,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
		BigIntDec:        cbor.BigIntDecodePointer,
	}.DecMode()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours, theirs any
		err, otherErr := unmarshalCBOR(data, &ours), other.Unmarshal(data, &theirs)
		if errors.Is(err, errTooMany) || otherErr != nil && strings.Contains(otherErr.Error(), "map key") {
			return // bounds are counted in another way, and so are keys that no map of Go can have
		}
		require.Equal(t, otherErr == nil, err == nil, "%v, and %v", err, otherErr)
		if err != nil {
			assert.Nil(t, ours)
			return
		}
		want, err := json.Marshal(inJSON(theirs))
		require.NoError(t, err)
		got, err := json.Marshal(ours)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(got))
	})
}

// inJSON is a decoded value as it is said in JSON.
func inJSON(value any) any {
	switch value := value.(type) {
	case []byte:
		return [][]byte{value}
	case float64:
		return number(value)
	case cbor.SimpleValue:
		return nil
	case []any:
		for i := range value {
			value[i] = inJSON(value[i])
		}
		return value
	case map[any]any:
		object := map[string]any{}
		for key, value := range value {
			if name, isText := key.(string); isText {
				object[name] = inJSON(value)
			}
		}
		return object
	}
	return value
}
