package iottemplate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
)

// Policy is a policy that is attached to the certificate.
type Policy struct {
	// Name is the policy's name. AWS derives the name of a policy that is given
	// by its document from a hash of the document and does not say which: here it
	// is the SHA-256 in hexadecimal.
	Name string

	// Document is the policy document, a JSON object, or "" if the template names
	// a policy that exists.
	Document string
}

// policyName is from API_CreatePolicy.
var policyName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)

// policyResource has exactly one of its fields.
type policyResource struct {
	name     *text
	document *policyDocument
}

type policyDocument struct {
	place      string
	expression expression
}

func (p parser) policy(place string, properties, overrides any) (policyResource, error) {
	if overrides != nil {
		return policyResource{}, at(place+".OverrideSettings", "not available for policies")
	}
	place += ".Properties"
	given, err := members(place, properties, "PolicyName", "PolicyDocument")
	if err != nil {
		return policyResource{}, err
	}
	if len(given) != 1 {
		return policyResource{}, at(place, "must have either PolicyName or PolicyDocument")
	}
	document, ok := given["PolicyDocument"]
	if !ok {
		name, err := p.optional(place, given, "PolicyName", matching(policyName, "a policy name"))
		return policyResource{name: name}, err
	}
	place += ".PolicyDocument"
	e, err := p.expression(place, document)
	if err != nil {
		return policyResource{}, err
	}
	d := policyDocument{place, e}
	if _, ok := e.(literal); ok {
		_, err = d.evaluate(nil)
	}
	return policyResource{document: &d}, err
}

func (p policyResource) evaluate(v values) (Policy, error) {
	if p.document == nil {
		name, err := p.name.evaluate(v)
		return Policy{Name: name}, err
	}
	document, err := p.document.evaluate(v)
	if err != nil {
		return Policy{}, err
	}
	sum := sha256.Sum256([]byte(document))
	return Policy{Name: hex.EncodeToString(sum[:]), Document: document}, nil
}

// evaluate returns a document that is written as a string as it is, and one that is
// written as an object as JSON.
func (d policyDocument) evaluate(v values) (string, error) {
	value, err := d.expression.evaluate(v)
	if err != nil {
		return "", err
	}
	document, ok := value.(string)
	if !ok {
		if document, err = encode(value); err != nil {
			return "", at(d.place, "%w", err)
		}
	}
	var object map[string]any
	if json.Unmarshal([]byte(document), &object) != nil || object == nil {
		return "", at(d.place, "the policy document is not a JSON object")
	}
	return document, nil
}
