package iotpolicy

import (
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/fleetprov/fleetprov/internal/strictjson"
)

// The sizes that AWS IoT's API takes (API reference, "API_CreatePolicy").
const (
	maxSize       = 404600 // characters
	maxCharacters = 2048   // characters that are not white space
)

// Document is a policy document that [Parse] has read. It does not change, and
// is safe for concurrent use.
type Document struct {
	statements []statement
}

// Parse reads a policy document. It refuses what AWS IoT refuses, such as a
// document of more than 2,048 characters besides white space, a Version other than
// 2012-10-17, a resource that is not an ARN, and an element given twice; what allows
// less than it seems to, such as an action that AWS IoT does not define; and what
// this package does not support. The error names the first defect, and
// the number of the statement that has it, counted from 1.
func Parse(document []byte) (*Document, error) {
	if err := checkSize(document); err != nil {
		return nil, err
	}
	value, err := strictjson.Decode(document)
	if err != nil {
		return nil, err
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("a policy document is a JSON object")
	}
	if err := checkElements(members, "Version", "Statement"); err != nil {
		return nil, err
	}
	if members["Version"] != "2012-10-17" {
		return nil, errors.New(`the Version must be "2012-10-17"`)
	}
	statements := oneOrMore(members["Statement"])
	if len(statements) == 0 {
		return nil, errors.New("the Statement is missing or empty")
	}
	parsed := new(Document)
	for i, value := range statements {
		statement, err := parseStatement(value)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		parsed.statements = append(parsed.statements, statement)
	}
	return parsed, nil
}

func checkSize(document []byte) error {
	if characters := utf8.RuneCount(document); characters > maxSize {
		return fmt.Errorf("the document has %d characters, and AWS IoT takes %d", characters, maxSize)
	}
	characters := 0
	for _, char := range string(document) {
		if !unicode.IsSpace(char) {
			characters++
		}
	}
	if characters > maxCharacters {
		return fmt.Errorf("the document has %d characters besides white space, and AWS IoT takes %d", characters, maxCharacters)
	}
	return nil
}

// unsupported are the elements of IAM's policy language that AWS IoT's pages do not
// mention: a policy applies to the certificate that it is attached to, and no page says
// how negations would be evaluated.
var unsupported = []string{"NotAction", "NotPrincipal", "NotResource", "Principal"}

func checkElements(members map[string]any, known ...string) error {
	for _, name := range sortedNames(members) {
		switch {
		case slices.Contains(known, name):
		case slices.Contains(unsupported, name):
			return fmt.Errorf("%s is not supported", name)
		default:
			return fmt.Errorf("unknown element %q", name)
		}
	}
	return nil
}
