package iotpolicy

import (
	"errors"
	"strings"
)

// The wildcards of a pattern's symbols. All other symbols stand for themselves.
const (
	anyText      rune = -1 // *
	anyCharacter rune = -2 // ?
)

// pattern is text with wildcards and variables.
type pattern []segment

// segment is a run of symbols, and the variable that follows, if any.
type segment struct {
	symbols  []rune
	variable string
}

// parsePattern parses text with variables. Without wildcards, * and ? stand for
// themselves, as they always do when written ${*} and ${?} (IAM,
// "reference_policies_variables", "Special characters").
func parsePattern(text string, wildcards bool) (pattern, error) {
	var parsed pattern
	var symbols []rune
	for text != "" {
		before, behind, found := strings.Cut(text, "${")
		for _, char := range before {
			switch {
			case wildcards && char == '*':
				char = anyText
			case wildcards && char == '?':
				char = anyCharacter
			}
			symbols = append(symbols, char)
		}
		if !found {
			break
		}
		name, rest, closed := strings.Cut(behind, "}")
		switch {
		case !closed:
			return nil, errors.New("a variable has no closing brace")
		case name == "*" || name == "?" || name == "$":
			symbols = append(symbols, rune(name[0]))
		case name == "" || strings.ContainsAny(name, "${'"):
			return nil, errors.New("${" + name + "} is not a variable; variables with a default value are not supported")
		default:
			if err := checkName(name); err != nil {
				return nil, err
			}
			parsed = append(parsed, segment{symbols, name})
			symbols = nil
		}
		text = rest
	}
	return append(parsed, segment{symbols: symbols}), nil
}

// matches reports whether the pattern matches all of the text. A pattern with a
// variable that has no value matches nothing.
func (p pattern) matches(text string, known variables) bool {
	symbols, ok := p.resolve(known)
	return ok && match(symbols, text)
}

// resolve puts the values of the variables into the pattern. Wildcards in them are
// ordinary characters, so the client id * matches only itself.
func (p pattern) resolve(known variables) (symbols []rune, ok bool) {
	for _, segment := range p {
		symbols = append(symbols, segment.symbols...)
		if segment.variable == "" {
			continue
		}
		value, ok := lookup(known, segment.variable)
		if !ok {
			return nil, false
		}
		symbols = append(symbols, []rune(value)...)
	}
	return symbols, true
}

// match reports whether the symbols match all of the text. When it fails after a
// *, that * takes one more character. Earlier ones need not be tried again, because the
// last one can reach whatever they could. So the time is at most the product of the
// lengths.
func match(symbols []rune, text string) bool {
	characters := []rune(text)
	s, c := 0, 0
	star, taken := -1, 0 // the last * so far, and the end of what it takes
	for c < len(characters) {
		switch {
		case s < len(symbols) && symbols[s] == anyText:
			star, taken = s, c
			s++
		case s < len(symbols) && (symbols[s] == anyCharacter || symbols[s] == characters[c]):
			s++
			c++
		case star >= 0:
			taken++
			s, c = star+1, taken
		default:
			return false
		}
	}
	for s < len(symbols) && symbols[s] == anyText {
		s++
	}
	return s == len(symbols)
}
