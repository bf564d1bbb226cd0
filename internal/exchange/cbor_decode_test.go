package exchange

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
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
		"\x44\x01\x02\x03\x04":                 []byte{1, 2, 3, 4},
		"\x5f\x42\x01\x02\x41\x03\xff":         []byte{1, 2, 3},
		"\x62\xc3\xbc":                         "ü",
		"\x7f\x65strea\x64ming\xff":            "streaming",
		"\x83\x01\x02\x03":                     []any{uint64(1), uint64(2), uint64(3)},
		"\x9f\xff":                             []any{},
		"\xbf\x61a\x01\xff":                    map[string]any{"a": uint64(1)},
	} {
		d := cborDecoder{[]byte(encoded)}
		decoded, err := d.value(0)
		require.NoError(t, err, "%x", encoded)
		assert.Equal(t, value, decoded, "%x", encoded)
	}
}

func FuzzCBOR(f *testing.F) {
	for _, seed := range []string{"\xa1\x61a\x61b", "\xbf\x61a\x9f\x01\xf9\x3c\x00\xff\xff", "\xa1\x7f\x61a\xff\x5f\x41\x00\xff", "\xa1\x61a\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	other, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  maxNested,
		MaxArrayElements: maxItems,
		MaxMapPairs:      maxItems,
		TagsMd:           cbor.TagsForbidden,
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		UTF8:             cbor.UTF8RejectInvalid,
		BigIntDec:        cbor.BigIntDecodePointer,
	}.DecMode()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours, theirs map[string]any
		err := unmarshalCBOR(data, &ours)
		if err != nil {
			assert.Empty(t, ours)
			return
		}
		if ours == nil {
			return
		}
		require.NoError(t, other.Unmarshal(data, &theirs))
		want, err := json.Marshal(theirs)
		require.NoError(t, err)
		got, err := json.Marshal(ours)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(got))
	})
}
