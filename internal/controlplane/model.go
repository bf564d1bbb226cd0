package controlplane

import (
	"encoding/base64"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// member is a member of a request.
type member struct {
	name     string
	in       place
	wire     string // its name there
	required bool
	shape    shape
}

type place int

const (
	inBody place = iota
	inPath
	inQuery
	inHeader
)

func body(name string, s shape) member         { return member{name, inBody, name, false, s} }
func uri(name string, s shape) member          { return member{name, inPath, name, true, s} }
func query(name string, s shape) member        { return member{name, inQuery, name, false, s} }
func header(name, wire string, s shape) member { return member{name, inHeader, wire, false, s} }

func must(m member) member {
	m.required = true
	return m
}

// shape is what a value must be. Of text, min and max are characters.
type shape struct {
	kind     kind
	min, max int
	pattern  *regexp.Regexp // of the whole text
	enum     []string
	members  []member
}

type kind int

const (
	aText kind = iota
	aFlag
	aNumber
	aBlob
	anObject
	aMap // string to string
)

func text(least, most int, pattern string) shape {
	s := shape{kind: aText, min: least, max: most}
	if pattern != "" {
		s.pattern = regexp.MustCompile(`^(?:` + pattern + `)$`)
	}
	return s
}

func number(least, most int) shape   { return shape{kind: aNumber, min: least, max: most} }
func oneOf(values ...string) shape   { return shape{kind: aText, max: unbounded, enum: values} }
func object(members ...member) shape { return shape{kind: anObject, members: members} }

const unbounded = math.MaxInt32

var (
	flag      = shape{kind: aFlag}
	blob      = shape{kind: aBlob}
	stringMap = shape{kind: aMap}
)

// input is a request whose values fit the model.
type input struct {
	values
	region string
	origin string // scheme, host and port under which the client reaches this server
}

// values are members by name. Those that were not given are not there.
type values map[string]any

func (v values) text(name string) string   { s, _ := v[name].(string); return s }
func (v values) flag(name string) bool     { b, _ := v[name].(bool); return b }
func (v values) number(name string) int    { n, _ := v[name].(int); return n }
func (v values) blob(name string) []byte   { b, _ := v[name].([]byte); return b }
func (v values) object(name string) values { o, _ := v[name].(values); return o }
func (v values) stringMap(name string) map[string]string {
	m, _ := v[name].(map[string]string)
	return m
}

func (v values) given(name string) bool {
	_, ok := v[name]
	return ok
}

// output is the answer to a request, by the names of its members.
type output map[string]any

// epoch is a time as restJson1 has it: seconds since 1970.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// read takes the members out of what was sent, where a nil means that one was not sent.
// It returns what is wrong with them, in AWS's words.
func read(members []member, at string, sent func(member) any) (values, []string) {
	read, problems := values{}, []string(nil)
	for _, m := range members {
		raw := sent(m)
		where := at + m.name
		if raw == nil {
			if m.required {
				problems = append(problems, fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", where))
			}
			continue
		}
		value, wrong := m.shape.read(where, raw)
		problems = append(problems, wrong...)
		read[m.name] = value
	}
	return read, problems
}

// read converts a value, which is a string unless it comes from JSON.
func (s shape) read(where string, raw any) (any, []string) {
	wrongType := []string{fmt.Sprintf("Value at '%s' has the wrong type", where)}
	written, isText := raw.(string)
	switch s.kind {
	case aText:
		if isText {
			return written, s.check(where, written)
		}
	case aFlag:
		if b, ok := raw.(bool); ok {
			return b, nil
		}
		if b, err := strconv.ParseBool(written); err == nil {
			return b, nil
		}
	case aNumber:
		n, err := strconv.Atoi(written)
		if float, ok := raw.(float64); ok && float == math.Trunc(float) && math.Abs(float) < unbounded {
			n, err = int(float), nil
		}
		if err == nil {
			return n, s.checkRange(where, n)
		}
	case aBlob:
		if data, err := base64.StdEncoding.DecodeString(written); err == nil && isText {
			return data, nil
		}
	case anObject:
		if sent, ok := raw.(map[string]any); ok {
			return read(s.members, where+".", func(m member) any { return sent[m.wire] })
		}
	case aMap:
		if m, ok := readMap(raw); ok {
			return m, nil
		}
	}
	return nil, wrongType
}

func readMap(raw any) (map[string]string, bool) {
	sent, ok := raw.(map[string]any)
	read := make(map[string]string, len(sent))
	for name, value := range sent {
		if read[name], ok = value.(string); !ok {
			return nil, false
		}
	}
	return read, ok
}

func (s shape) check(where, value string) []string {
	shown := value
	if utf8.RuneCountInString(shown) > 100 {
		shown = string([]rune(shown)[:100]) + "…"
	}
	failed := func(constraint string, arguments ...any) []string {
		return []string{fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: Member must ", shown, where) + fmt.Sprintf(constraint, arguments...)}
	}
	var problems []string
	switch n := utf8.RuneCountInString(value); {
	case n < s.min:
		problems = failed("have length greater than or equal to %d", s.min)
	case n > s.max:
		problems = failed("have length less than or equal to %d", s.max)
	}
	if s.pattern != nil && !s.pattern.MatchString(value) {
		problems = append(problems, failed("satisfy regular expression pattern: %s", s.pattern)...)
	}
	if s.enum != nil && !slices.Contains(s.enum, value) {
		problems = append(problems, failed("satisfy enum value set: %v", s.enum)...)
	}
	return problems
}

func (s shape) checkRange(where string, n int) []string {
	if s.min <= n && n <= s.max {
		return nil
	}
	return []string{fmt.Sprintf("Value '%d' at '%s' failed to satisfy constraint: Member must have value between %d and %d", n, where, s.min, s.max)}
}
