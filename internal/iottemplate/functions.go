package iottemplate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxText is how many bytes the result of a function may have, so that nested functions
// cannot fill the memory.
const maxText = 64 << 10

// call is a function with its arguments, parsed.
type call struct {
	result kind
	run    func(values) (any, error)
}

func (c call) kind() kind                     { return c.result }
func (c call) evaluate(v values) (any, error) { return c.run(v) }

// function parses a call of one of the intrinsic functions (provision-template).
func (p parser) function(place, name string, argument any) (expression, error) {
	place += "." + name
	switch name {
	case "Ref":
		return p.ref(place, argument)
	case "Fn::Join":
		return p.join(place, argument)
	case "Fn::Sub":
		return p.sub(place, argument)
	case "Fn::Select":
		return p.selection(place, argument)
	case "Fn::Split":
		return p.split(place, argument)
	case "Fn::FindInMap":
		return p.findInMap(place, argument)
	}
	return nil, at(place, "there is no such function; the functions are Ref, Fn::Join, Fn::Sub, Fn::Select, Fn::Split and Fn::FindInMap")
}

// arguments returns an array of n arguments.
func arguments(place string, argument any, n int, names string) ([]any, error) {
	list, ok := argument.([]any)
	if !ok || len(list) != n {
		return nil, at(place, "must be [%s]", names)
	}
	return list, nil
}

func (p parser) ref(place string, argument any) (expression, error) {
	name, ok := argument.(string)
	if !ok {
		return nil, at(place, "must be a parameter's name, not %s", describe(argument))
	}
	if err := p.declared(place, name); err != nil {
		return nil, err
	}
	return call{scalarKind, func(v values) (any, error) { return v.of(place, name) }}, nil
}

func (p parser) declared(place, name string) error {
	if _, ok := p.parameters[name]; !ok && name != CertificateID {
		return at(place, "the parameter %s is not declared", quoted(name))
	}
	return nil
}

func (p parser) join(place string, argument any) (expression, error) {
	list, err := arguments(place, argument, 2, "delimiter, list")
	if err != nil {
		return nil, err
	}
	delimiter, err := p.text(index(place, 0), list[0], anyText)
	if err != nil {
		return nil, err
	}
	elements, err := p.sequence(index(place, 1), list[1])
	if err != nil {
		return nil, err
	}
	return call{scalarKind, func(v values) (any, error) {
		delimiter, err := delimiter.evaluate(v)
		if err != nil {
			return nil, err
		}
		texts, err := elements.texts(v, anyText)
		if err != nil {
			return nil, err
		}
		return concatenate(place, texts, delimiter)
	}}, nil
}

func concatenate(place string, texts []string, delimiter string) (any, error) {
	size := len(delimiter) * max(len(texts)-1, 0)
	for _, text := range texts {
		size += len(text)
	}
	if size > maxText {
		return nil, at(place, "the result has more than %d bytes", maxText)
	}
	return strings.Join(texts, delimiter), nil
}

func (p parser) selection(place string, argument any) (expression, error) {
	list, err := arguments(place, argument, 2, "index, list")
	if err != nil {
		return nil, err
	}
	chosen, err := p.text(index(place, 0), list[0], isIndex)
	if err != nil {
		return nil, err
	}
	elements, err := p.sequence(index(place, 1), list[1])
	if err != nil {
		return nil, err
	}
	return call{unknownKind, func(v values) (any, error) {
		chosen, err := chosen.evaluate(v)
		if err != nil {
			return nil, err
		}
		elements, err := elements.evaluate(v)
		if err != nil {
			return nil, err
		}
		i, err := strconv.Atoi(chosen)
		if err != nil || i >= len(elements) {
			return nil, at(place, "the index %s is out of range: there are %d elements", quoted(chosen), len(elements))
		}
		if elements[i] == nil {
			return nil, at(place, "element %d is null", i)
		}
		return elements[i], nil
	}}, nil
}

func isIndex(text string) error {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return fmt.Errorf("%s is not an index", quoted(text))
	}
	return nil
}

func (p parser) split(place string, argument any) (expression, error) {
	list, err := arguments(place, argument, 2, "delimiter, string")
	if err != nil {
		return nil, err
	}
	delimiter, err := p.text(index(place, 0), list[0], isDelimiter)
	if err != nil {
		return nil, err
	}
	source, err := p.text(index(place, 1), list[1], anyText)
	if err != nil {
		return nil, err
	}
	return call{listKind, func(v values) (any, error) {
		delimiter, err := delimiter.evaluate(v)
		if err != nil {
			return nil, err
		}
		source, err := source.evaluate(v)
		if err != nil {
			return nil, err
		}
		var elements []any
		for element := range strings.SplitSeq(source, delimiter) {
			elements = append(elements, element)
		}
		return elements, nil
	}}, nil
}

func isDelimiter(text string) error {
	if text == "" {
		return errors.New("the delimiter is empty")
	}
	return nil
}

func (p parser) findInMap(place string, argument any) (expression, error) {
	list, err := arguments(place, argument, 3, "mapping, key, name")
	if err != nil {
		return nil, err
	}
	mapping, err := p.text(index(place, 0), list[0], p.mappings.has)
	if err != nil {
		return nil, err
	}
	key, err := p.text(index(place, 1), list[1], anyText)
	if err != nil {
		return nil, err
	}
	name, err := p.text(index(place, 2), list[2], anyText)
	if err != nil {
		return nil, err
	}
	return call{unknownKind, func(v values) (any, error) {
		mapping, err := mapping.evaluate(v)
		if err != nil {
			return nil, err
		}
		key, err := key.evaluate(v)
		if err != nil {
			return nil, err
		}
		name, err := name.evaluate(v)
		if err != nil {
			return nil, err
		}
		entries, ok := p.mappings[mapping][key]
		if !ok {
			return nil, at(place, "the mapping %s has no key %s", quoted(mapping), quoted(key))
		}
		value, ok := entries[name]
		if !ok {
			return nil, at(place, "the key %s of the mapping %s has no %s", quoted(key), quoted(mapping), quoted(name))
		}
		return value, nil
	}}, nil
}

func (m mappings) has(mapping string) error {
	if _, ok := m[mapping]; !ok {
		return fmt.Errorf("there is no mapping %s", quoted(mapping))
	}
	return nil
}
