package controlplane

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// trust is a policy that says which service may use something: who may take a role, or
// call a function. Of IAM's policies it has what these two need.
type trust struct {
	Version   string
	ID        string `json:"Id,omitempty"`
	Statement many[permission]
}

// permission is one statement of a trust.
type permission struct {
	SID       string `json:"Sid,omitempty"`
	Effect    string
	Principal principals
	Action    many[string]
	Resource  string                             `json:",omitempty"`
	Condition map[string]map[string]many[string] `json:",omitempty"`
}

// principals are services, or of other kinds, which do not matter here.
type principals struct{ Service many[string] }

// UnmarshalJSON also takes "*", which means everyone and no service.
func (p *principals) UnmarshalJSON(data []byte) error {
	type plain principals
	if string(data) == `"*"` {
		return nil
	}
	return json.Unmarshal(data, (*plain)(p))
}

// many is a list that is written without brackets if there is only one.
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

func (m many[T]) MarshalJSON() ([]byte, error) {
	if len(m) == 1 {
		return json.Marshal(m[0])
	}
	return json.Marshal([]T(m))
}

func parseTrust(document string) (trust, error) {
	var t trust
	if err := json.Unmarshal([]byte(document), &t); err != nil {
		return trust{}, errors.New("the document is not a policy in JSON")
	}
	if len(t.Statement) == 0 {
		return trust{}, errors.New("the document has no statement")
	}
	for _, s := range t.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" || len(s.Action) == 0 {
			return trust{}, errors.New("each statement needs an Effect of Allow or Deny, and an Action")
		}
	}
	return t, nil
}

// allows reports whether a service may do what action says. source is the ARN on whose
// behalf it asks, "" if that is not known: then a condition about it is met by every ARN
// of this account.
func (t trust) allows(service, action, source string) bool {
	allowed := false
	for _, s := range t.Statement {
		if !slices.Contains(s.Principal.Service, service) || !slices.ContainsFunc(s.Action, func(a string) bool { return like(a, action) }) || !s.met(source) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

// met reports whether the conditions are met. One that is not known here is not.
func (s permission) met(source string) bool {
	for operator, keys := range s.Condition {
		exact := operator == "StringEquals"
		if !exact && operator != "StringLike" && operator != "ArnLike" && operator != "ArnEquals" {
			return false
		}
		for key, wanted := range keys {
			matches := func(w string) bool { return meets(strings.ToLower(key), w, source, exact) }
			if !slices.ContainsFunc(wanted, matches) {
				return false
			}
		}
	}
	return true
}

func meets(key, wanted, source string, exact bool) bool {
	switch key {
	case "aws:sourceaccount":
		return wanted == iotregistry.Account || !exact && like(wanted, iotregistry.Account)
	case "aws:sourcearn":
		if source == "" {
			return strings.Contains(wanted, ":"+iotregistry.Account+":")
		}
		return wanted == source || !exact && like(wanted, source)
	default:
		return false
	}
}

// like matches a text with a pattern in which * stands for anything and ? for a character.
func like(pattern, text string) bool {
	quoted := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	matched, err := regexp.MatchString("^"+quoted+"$", text)
	return err == nil && matched
}
