package operator

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// servicePolicy is a policy of IAM in the part that matters for a service of AWS: who may
// take a role or call a function, and what a role may do.
type servicePolicy struct{ Statement many[serviceStatement] }

type serviceStatement struct {
	Effect    string
	Principal servicePrincipal
	Action    many[string]
	Resource  many[string]
	Condition map[string]map[string]many[string]
}

// servicePrincipal are services. A principal of another kind is no service.
type servicePrincipal struct{ Service many[string] }

func (p *servicePrincipal) UnmarshalJSON(data []byte) error {
	type plain servicePrincipal
	if strings.HasPrefix(string(data), `"`) { // "*" is everyone
		return nil
	}
	return json.Unmarshal(data, (*plain)(p))
}

// many is a list that may be written without brackets if it has one member.
type many[T any] []T

func (m *many[T]) UnmarshalJSON(data []byte) error {
	if strings.HasPrefix(string(data), "[") {
		return json.Unmarshal(data, (*[]T)(m))
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*m = many[T]{one}
	return nil
}

// source is on whose behalf a service asks.
type source struct{ account, arn string }

// letsService reports whether a document lets a service do something. A condition that is
// not about the source counts as not met.
func letsService(document, service, action string, from source) bool {
	return decide(document, func(s serviceStatement) bool {
		return slices.Contains(s.Principal.Service, service) && s.about(action) && s.metBy(from)
	})
}

// letsRole reports whether a document that a role has lets it do something with resource.
func letsRole(document, action, resource string) bool {
	return decide(document, func(s serviceStatement) bool {
		return s.about(action) && slices.ContainsFunc(s.Resource, func(r string) bool { return like(r, resource) }) && len(s.Condition) == 0
	})
}

// decide looks at the statements that apply: one has to allow, and none may deny.
func decide(document string, applies func(serviceStatement) bool) bool {
	var p servicePolicy
	if json.Unmarshal([]byte(document), &p) != nil {
		return false
	}
	allowed := false
	for _, s := range p.Statement {
		switch {
		case !applies(s):
		case s.Effect == "Deny":
			return false
		default:
			allowed = true
		}
	}
	return allowed
}

func (s serviceStatement) about(action string) bool {
	return slices.ContainsFunc(s.Action, func(a string) bool { return like(strings.ToLower(a), strings.ToLower(action)) })
}

func (s serviceStatement) metBy(from source) bool {
	for operator, keys := range s.Condition {
		if !slices.Contains([]string{"StringEquals", "StringLike", "ArnEquals", "ArnLike"}, operator) {
			return false
		}
		for key, wanted := range keys {
			value := map[string]string{"aws:sourceaccount": from.account, "aws:sourcearn": from.arn}[strings.ToLower(key)]
			matches := func(w string) bool {
				return w == value || operator != "StringEquals" && like(w, value)
			}
			if value == "" || !slices.ContainsFunc(wanted, matches) {
				return false
			}
		}
	}
	return true
}

// like matches a text with a pattern in which * is anything and ? any character.
func like(pattern, text string) bool {
	quoted := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	matched, err := regexp.MatchString("^"+quoted+"$", text)
	return err == nil && matched
}
