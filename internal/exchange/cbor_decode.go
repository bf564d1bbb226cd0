package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"unicode/utf8"
)

// The limits of what is decoded. An answer is one map of a few strings.
const (
	maxNested = 8
	maxItems  = 1024
)

var (
	errTruncated = errors.New("the CBOR item is truncated")
	errTooMany   = fmt.Errorf("there are more than %d CBOR items", maxItems)
)

// unmarshalCBOR translates an answer into JSON, whose fields have the same names, and
// decodes that. A value that JSON cannot express becomes one that is not a string, so
// that it is not mistaken for a string and the rest can still be decoded.
func unmarshalCBOR(data []byte, v any) error {
	d := cborDecoder{rest: data}
	value, err := d.value(0)
	if err != nil {
		return err
	}
	if len(d.rest) > 0 {
		return errors.New("there is data after the CBOR item")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return unmarshalJSON(text, v)
}

// cborDecoder reads the items of rest, one after another.
type cborDecoder struct {
	rest  []byte
	items int // read so far
}

// The additional information that means an indefinite length, and the byte that ends
// such an item (RFC 8949, section 3.2.1).
const (
	cborIndefinite = 31
	cborBreak      = 0xff
)

// head reads the head of an item: its major type, additional information and argument
// (RFC 8949, section 3). The argument of an indefinite length is math.MaxUint64.
func (d *cborDecoder) head() (major, info byte, argument uint64, err error) {
	first, err := d.take(1)
	if err != nil {
		return 0, 0, 0, err
	}
	major, info = first[0]&0xe0, first[0]&0x1f
	switch {
	case info < 24:
		return major, info, uint64(info), nil
	case info < 28:
		number, err := d.take(1 << (info - 24))
		for _, b := range number {
			argument = argument<<8 | uint64(b)
		}
		return major, info, argument, err
	case info == cborIndefinite && cborBytes <= major && major <= cborMap:
		return major, info, math.MaxUint64, nil
	default:
		return 0, 0, 0, fmt.Errorf("no CBOR item begins with 0x%02x", first[0])
	}
}

func (d *cborDecoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.rest)) {
		return nil, errTruncated
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken, nil
}

// value reads an item that is nested depth levels deep.
func (d *cborDecoder) value(depth int) (any, error) {
	if d.items++; d.items > maxItems {
		return nil, errTooMany
	}
	major, info, argument, err := d.head()
	if err != nil {
		return nil, err
	}
	switch major {
	case cborUnsigned:
		return argument, nil
	case cborNegative:
		n := new(big.Int).SetUint64(argument)
		return n.Not(n), nil
	case cborBytes:
		b, err := d.bytes(major, info, argument)
		return [][]byte{b}, err // b alone would become a string in JSON
	case cborText:
		return d.text(info, argument)
	case cborTag:
		return nil, errors.New("a CBOR item is tagged")
	case cborSimple:
		return simpleValue(info, argument)
	}
	if depth == maxNested {
		return nil, fmt.Errorf("CBOR items are nested more than %d deep", maxNested)
	}
	if major == cborArray {
		return d.array(depth, info == cborIndefinite, argument)
	}
	return d.object(depth, info == cborIndefinite, argument)
}

// bytes reads the content of a byte or text string. If its length is indefinite, it
// comes in chunks (RFC 8949, section 3.2.3).
func (d *cborDecoder) bytes(major, info byte, length uint64) ([]byte, error) {
	if info != cborIndefinite {
		return d.take(length)
	}
	whole := []byte{}
	for !d.ends() {
		kind, info, length, err := d.head()
		if err != nil {
			return nil, err
		}
		if kind != major || info == cborIndefinite {
			return nil, errors.New("a CBOR string has a chunk of another type")
		}
		chunk, err := d.take(length)
		if err != nil {
			return nil, err
		}
		if major == cborText && !utf8.Valid(chunk) {
			return nil, errNotUTF8
		}
		whole = append(whole, chunk...)
	}
	return whole, nil
}

var errNotUTF8 = errors.New("a CBOR text is not UTF-8")

func (d *cborDecoder) text(info byte, length uint64) (string, error) {
	text, err := d.bytes(cborText, info, length)
	if err == nil && !utf8.Valid(text) {
		err = errNotUTF8
	}
	return string(text), err
}

// ends reports whether an item of indefinite length ends here, and reads its break if it
// does.
func (d *cborDecoder) ends() bool {
	if len(d.rest) == 0 || d.rest[0] != cborBreak {
		return false
	}
	d.rest = d.rest[1:]
	return true
}

func (d *cborDecoder) array(depth int, indefinite bool, length uint64) (any, error) {
	array := []any{}
	for n := uint64(0); n < length && !(indefinite && d.ends()); n++ {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		array = append(array, item)
	}
	return array, nil
}

// object reads a map. It leaves out pairs whose key is not a text string.
func (d *cborDecoder) object(depth int, indefinite bool, length uint64) (any, error) {
	object := map[string]any{}
	for n := uint64(0); n < length && !(indefinite && d.ends()); n++ {
		key, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name, isText := key.(string)
		if !isText {
			continue
		}
		if _, twice := object[name]; twice {
			return nil, errors.New("a CBOR map has a key twice")
		}
		object[name] = value
	}
	return object, nil
}

// simpleValue returns a boolean or a floating-point number, or nil for anything else
// (RFC 8949, section 3.3).
func simpleValue(info byte, argument uint64) (any, error) {
	switch info {
	case 20, 21:
		return info == 21, nil
	case 24:
		if argument < 32 {
			return nil, errors.New("a CBOR simple value is not well-formed")
		}
		return nil, nil
	case 25:
		return number(halfFloat(uint16(argument))), nil
	case 26:
		return number(float64(math.Float32frombits(uint32(argument)))), nil
	case 27:
		return number(math.Float64frombits(argument)), nil
	default:
		return nil, nil
	}
}

// number returns f, or nil if JSON cannot express it.
func number(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

// halfFloat converts from IEEE 754 binary16 (RFC 8949, appendix D).
func halfFloat(bits uint16) float64 {
	fraction := float64(bits & 0x3ff)
	value := math.NaN()
	switch exponent := int(bits >> 10 & 0x1f); {
	case exponent == 0:
		value = math.Ldexp(fraction, -24)
	case exponent < 31:
		value = math.Ldexp(fraction+1024, exponent-25)
	case fraction == 0:
		value = math.Inf(1)
	}
	if bits&0x8000 != 0 {
		return -value
	}
	return value
}
