package iottemplate

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// kind is what is known about an expression's value before it is evaluated.
type kind int

const (
	unknownKind kind = iota
	scalarKind       // a string, number or bool
	listKind
	objectKind
	nullKind
)

func (k kind) String() string {
	return [...]string{"something", "a string", "a list", "an object", "null"}[k]
}

// expression is a value of a template, with the functions still in it. It is
// evaluated to what [decode] gives: string, json.Number, bool, nil, []any and
// map[string]any.
type expression interface {
	kind() kind
	evaluate(values) (any, error)
}

// parser knows what expressions may refer to.
type parser struct {
	parameters map[string]parameter
	mappings   mappings
}

// expression parses any value. An object with a function's name in it is a call
// of that function.
func (p parser) expression(place string, value any) (expression, error) {
	switch value := value.(type) {
	case []any:
		list := make(list, len(value))
		for i, element := range value {
			var err error
			if list[i], err = p.expression(index(place, i), element); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		for _, name := range sorted(value) {
			if !isFunction(name) {
				continue
			}
			if len(value) > 1 {
				return nil, at(place, "%s cannot have other members beside it", quoted(name))
			}
			return p.function(place, name, value[name])
		}
		object := object{}
		for _, name := range sorted(value) {
			var err error
			if object[name], err = p.expression(place+"."+name, value[name]); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	return literal{value}, nil
}

// isFunction is also true for functions that AWS does not have: such a name is more
// likely a typing error than an ordinary member.
func isFunction(name string) bool {
	return name == "Ref" || strings.HasPrefix(name, "Fn:")
}

func index(place string, i int) string {
	return place + "[" + strconv.Itoa(i) + "]"
}

type literal struct{ value any }

func (l literal) kind() kind {
	if l.value == nil {
		return nullKind
	}
	return scalarKind
}

func (l literal) evaluate(values) (any, error) { return l.value, nil }

type list []expression

func (l list) kind() kind { return listKind }

func (l list) evaluate(v values) (any, error) {
	elements := make([]any, len(l))
	for i, element := range l {
		var err error
		if elements[i], err = element.evaluate(v); err != nil {
			return nil, err
		}
	}
	return elements, nil
}

type object map[string]expression

func (o object) kind() kind { return objectKind }

func (o object) evaluate(v values) (any, error) {
	evaluated := map[string]any{}
	for _, name := range sorted(o) {
		var err error
		if evaluated[name], err = o[name].evaluate(v); err != nil {
			return nil, err
		}
	}
	return evaluated, nil
}

// text is an expression in a place where AWS takes a string. A number or a bool
// counts as its JSON text.
type text struct {
	place      string
	expression expression
	check      check
}

// check says what is wrong with a text.
type check func(string) error

func anyText(string) error { return nil }

// text checks the value at once if it depends on no parameter.
func (p parser) text(place string, value any, check check) (text, error) {
	e, err := p.expression(place, value)
	if err != nil {
		return text{}, err
	}
	if k := e.kind(); k != scalarKind && k != unknownKind {
		return text{}, at(place, "must be a string, not %s", k)
	}
	t := text{place, e, check}
	if _, ok := e.(literal); ok {
		_, err = t.evaluate(nil)
	}
	return t, err
}

func (t text) evaluate(v values) (string, error) {
	value, err := t.expression.evaluate(v)
	if err != nil {
		return "", err
	}
	if !scalar(value) {
		return "", at(t.place, "must be a string, not %s", describe(value))
	}
	result := fmt.Sprint(value)
	if err := t.check(result); err != nil {
		return "", at(t.place, "%w", err)
	}
	return result, nil
}

func scalar(value any) bool {
	switch value.(type) {
	case string, json.Number, bool:
		return true
	}
	return false
}

// texts parses an object of texts.
func (p parser) texts(place string, value any, check check) (map[string]text, error) {
	object, err := members(place, value)
	if err != nil {
		return nil, err
	}
	texts := map[string]text{}
	for _, name := range sorted(object) {
		if isFunction(name) {
			return nil, at(place, "must be a JSON object, not the function %s", quoted(name))
		}
		if texts[name], err = p.text(place+"."+name, object[name], check); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func evaluateTexts(texts map[string]text, v values) (map[string]string, error) {
	results := map[string]string{}
	for _, name := range sorted(texts) {
		var err error
		if results[name], err = texts[name].evaluate(v); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// sequence is an expression in a place where AWS takes a list.
type sequence struct {
	place      string
	expression expression
}

func (p parser) sequence(place string, value any) (sequence, error) {
	e, err := p.expression(place, value)
	if err != nil {
		return sequence{}, err
	}
	if k := e.kind(); k != listKind && k != unknownKind {
		return sequence{}, at(place, "must be a list, not %s", k)
	}
	return sequence{place, e}, nil
}

func (s sequence) evaluate(v values) ([]any, error) {
	value, err := s.expression.evaluate(v)
	if err != nil {
		return nil, err
	}
	elements, ok := value.([]any)
	if !ok {
		return nil, at(s.place, "must be a list, not %s", describe(value))
	}
	return elements, nil
}

// texts evaluates a list of strings.
func (s sequence) texts(v values, check check) ([]string, error) {
	elements, err := s.evaluate(v)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(elements))
	for i, element := range elements {
		if texts[i], err = (text{index(s.place, i), literal{element}, check}).evaluate(v); err != nil {
			return nil, err
		}
	}
	return texts, nil
}
