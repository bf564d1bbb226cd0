package pfx

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestToDER(t *testing.T) {
	tests := map[string]struct{ ber, der []byte }{
		"DER stays":                            {[]byte{0x30, 3, 2, 1, 3}, []byte{0x30, 3, 2, 1, 3}},
		"what follows is dropped":              {[]byte{0x30, 3, 2, 1, 3, 0x0a}, []byte{0x30, 3, 2, 1, 3}},
		"an indefinite length gets definite":   {[]byte{0x30, 0x80, 2, 1, 3, 0, 0}, []byte{0x30, 3, 2, 1, 3}},
		"and inside another":                   {[]byte{0x30, 0x80, 0xa0, 0x80, 2, 1, 3, 0, 0, 0, 0, 5}, []byte{0x30, 5, 0xa0, 3, 2, 1, 3}},
		"and inside one of definite length":    {[]byte{0x30, 7, 0xa0, 0x80, 2, 1, 3, 0, 0}, []byte{0x30, 5, 0xa0, 3, 2, 1, 3}},
		"a long form of a short length":        {[]byte{0x30, 0x83, 0, 0, 3, 2, 1, 3}, []byte{0x30, 3, 2, 1, 3}},
		"a string in pieces is joined":         {[]byte{0x24, 0x80, 4, 2, 'a', 'b', 4, 1, 'c', 0, 0}, []byte{4, 3, 'a', 'b', 'c'}},
		"and in pieces of pieces":              {[]byte{0x24, 9, 0x24, 4, 4, 2, 'a', 'b', 4, 1, 'c'}, []byte{4, 3, 'a', 'b', 'c'}},
		"an empty string in pieces":            {[]byte{0x24, 0x80, 0, 0}, []byte{4, 0}},
		"a tag [0] is not a string":            {[]byte{0xa0, 0x80, 4, 1, 'a', 4, 1, 'b', 0, 0}, []byte{0xa0, 6, 4, 1, 'a', 4, 1, 'b'}},
		"two zeros are no end, length is told": {[]byte{0x30, 2, 0, 0}, []byte{0x30, 2, 0, 0}},
		"nothing":                              {nil, nil},
		"half a header":                        {[]byte{0x30}, nil},
		"half a length":                        {[]byte{0x30, 0x82, 1}, nil},
		"half a content":                       {[]byte{0x30, 3, 2, 1}, nil},
		"an indefinite length without end":     {[]byte{0x30, 0x80, 2, 1, 3}, nil},
		"half an end":                          {[]byte{0x30, 0x80, 2, 1, 3, 0}, nil},
		"an indefinite primitive":              {[]byte{4, 0x80, 0, 0}, nil},
		"a string with another type in it":     {[]byte{0x24, 0x80, 2, 1, 3, 0, 0}, nil},
		"a length of 5 bytes":                  {[]byte{0x30, 0x85, 0, 0, 0, 0, 3, 2, 1, 3}, nil},
		"a length above 2^31":                  {[]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 2, 1, 3}, nil},
		"a tag number above 30":                {[]byte{0x3f, 0x81, 1, 0}, nil},
		"an element that ends in its parent":   {[]byte{0x30, 4, 2, 1, 3, 2, 1, 0}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			der, ok := toDER(test.ber)
			assert.Equal(t, test.der != nil, ok)
			assert.Equal(t, test.der, der)
		})
	}
}

func TestToDERLimitsDepth(t *testing.T) {
	nested := func(depth int) []byte {
		return append(bytes.Repeat([]byte{0x30, 0x80}, depth), bytes.Repeat([]byte{0, 0}, depth)...)
	}
	_, ok := toDER(nested(maxDepth))
	assert.True(t, ok)
	der, ok := toDER(nested(maxDepth + 1))
	assert.False(t, ok)
	assert.Nil(t, der)
}

// appendBER writes a DER element as NSS would: every length indefinite, every
// string in pieces.
func appendBER(ber, der []byte) []byte {
	for len(der) > 0 {
		tag, body, rest, _, ok := cutHeader(der)
		if !ok {
			panic("not DER")
		}
		switch {
		case tag&0x20 != 0:
			ber = append(ber, tag, 0x80)
			ber = appendBER(ber, body)
			ber = append(ber, 0, 0)
		case tag == 4:
			ber = append(ber, 0x24, 0x80)
			for len(body) > 0 {
				n := min(len(body), 100)
				ber = append(ber, 4, byte(n))
				ber = append(ber, body[:n]...)
				body = body[n:]
			}
			ber = append(ber, 0, 0)
		default:
			ber = append(ber, der[:len(der)-len(rest)]...)
		}
		der = rest
	}
	return ber
}

func TestEveryFileOpensAsBER(t *testing.T) {
	for _, f := range testFiles(t) {
		der, _, err := unwrap(f.read(t))
		if f.Expect == "error" || err != nil {
			continue
		}
		if _, err := parse(der, f.Password, 200_000); errors.Is(err, errTooMuchWork) {
			continue
		}
		t.Run(f.File, func(t *testing.T) {
			ber := appendBER(nil, der)
			require.NotEqual(t, der, ber)
			b, err := Parse(ber, f.Password)
			require.NoError(t, err)
			checkBundle(t, b)
		})
	}
}

func FuzzToDER(f *testing.F) {
	for _, file := range testFiles(f) {
		f.Add(file.read(f))
	}
	f.Fuzz(func(t *testing.T, ber []byte) {
		der, ok := toDER(ber)
		if !ok {
			require.Nil(t, der)
			return
		}
		again, ok := toDER(der)
		require.True(t, ok)
		require.Equal(t, der, again)
		require.LessOrEqual(t, len(der), 3*len(ber))
	})
}
