package strictjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/strictjson"
)

func TestDecode(t *testing.T) {
	got, err := strictjson.Decode([]byte(` {"a": [1.50, "b", true, null, {}, []], "A": -1e400} `))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"a": []any{json.Number("1.50"), "b", true, nil, map[string]any{}, []any{}},
		"A": json.Number("-1e400"),
	}, got)
	for document, want := range map[string]any{`"a"`: "a", `1`: json.Number("1"), `false`: false, `null`: nil} {
		got, err := strictjson.Decode([]byte(document))
		require.NoError(t, err, document)
		assert.Equal(t, want, got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, test := range []struct{ name, document, want string }{
		{"nothing", ``, "unexpected end of JSON input"},
		{"half a document", `{"a": [`, "unexpected end of JSON input"},
		{"a second value", `{} {}`, "invalid character '{' after top-level value"},
		{"a comma too many", `{"a": 1,}`, "invalid character '}'"},
		{"no comma", `["a" "b"]`, "invalid character '\"' after array element"},
		{"a member given twice", `{"a": 1, "b": 2, "a": 1}`, `"a" is given twice`},
		{"a member given twice, once with an escape", `{"a": 1, "\u0061": 1}`, `"a" is given twice`},
		{"a member given twice far inside", `[{"b": [{"a": 1, "a": null}]}]`, `"a" is given twice`},
		{"deep nesting", strings.Repeat("[", 1_000_000), "exceeded max depth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			value, err := strictjson.Decode([]byte(test.document))
			assert.ErrorContains(t, err, test.want)
			assert.Nil(t, value)
		})
	}
}

// FuzzDecode compares Decode with encoding/json, which must agree on every document
// that Decode accepts, and accept no document that Decode finds to be no JSON.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"a": [1.50, "b", true, null, {}, []]}`))
	f.Add([]byte(`{"a": 1, "\u0061": 2}`))
	f.Add([]byte("[\"\xff\", 1e999]"))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		got, err := strictjson.Decode(document)
		if err != nil {
			if json.Valid(document) {
				require.ErrorContains(t, err, "is given twice")
			}
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(document))
		decoder.UseNumber()
		var want any
		require.NoError(t, decoder.Decode(&want))
		require.Equal(t, want, got)
	})
}
