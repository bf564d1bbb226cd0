package iottemplate

import "strings"

// sub parses Fn::Sub: a string with ${Name} in it, or an array of such a string
// and an object of values for some of its names. The other names are parameters.
// ${!Name} stands for ${Name}, as in CloudFormation, so that the string can contain
// policy variables.
func (p parser) sub(place string, argument any) (expression, error) {
	pattern, variables := argument, map[string]text{}
	if _, ok := argument.([]any); ok {
		list, err := arguments(place, argument, 2, "string, values")
		if err != nil {
			return nil, err
		}
		pattern = list[0]
		if variables, err = p.texts(index(place, 1), list[1], anyText); err != nil {
			return nil, err
		}
	}
	source, ok := pattern.(string)
	if !ok {
		return nil, at(place, "must be a string, not %s", describe(pattern))
	}
	pieces, err := splitPattern(place, source)
	if err != nil {
		return nil, err
	}
	for _, piece := range pieces {
		if _, ok := variables[piece.name]; piece.name == "" || ok {
			continue
		}
		if err := p.declared(place, piece.name); err != nil {
			return nil, err
		}
	}
	return call{scalarKind, func(v values) (any, error) {
		given, err := evaluateTexts(variables, v)
		if err != nil {
			return nil, err
		}
		var texts []string
		for _, piece := range pieces {
			text, ok := piece.literal, true
			if piece.name != "" {
				text, ok = given[piece.name]
			}
			if !ok {
				if text, err = v.of(place, piece.name); err != nil {
					return nil, err
				}
			}
			texts = append(texts, text)
		}
		return concatenate(place, texts, "")
	}}, nil
}

// piece is a literal, or the name in ${…}.
type piece struct{ literal, name string }

func splitPattern(place, source string) ([]piece, error) {
	var pieces []piece
	for {
		before, rest, found := strings.Cut(source, "${")
		pieces = append(pieces, piece{literal: before})
		if !found {
			return pieces, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, at(place, "a ${ has no closing brace")
		}
		literal, escaped := strings.CutPrefix(name, "!")
		switch {
		case name == "":
			return nil, at(place, "there is no name in ${}")
		case escaped:
			pieces = append(pieces, piece{literal: "${" + literal + "}"})
		default:
			pieces = append(pieces, piece{name: name})
		}
		source = after
	}
}
