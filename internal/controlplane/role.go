package controlplane

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
)

// role is a role of IAM. Its roles guard it.
type role struct {
	name, id, path, description string
	maxSession                  int // seconds
	created                     time.Time
	trustDocument               string
	trust                       trust
	attached                    []string          // ARNs of policies
	inline                      map[string]string // documents by name
}

// roles are the roles of the account, by name.
type roles struct {
	mu     *sync.Mutex // guards the rest
	byName map[string]*role
}

func newRoles() roles { return roles{new(sync.Mutex), make(map[string]*role)} }

// assume fails unless there is a role with that ARN that a service may take.
func (r roles) assume(arn, service string) (*role, error) {
	name, ok := resource(arn, "iam", "role/")
	if !ok {
		return nil, fmt.Errorf("it is not the ARN of a role in the account %s", iotregistry.Account)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.byName[path.Base(name)]
	if found == nil {
		return nil, errors.New("there is no such role")
	}
	if !found.trust.allows(service, "sts:AssumeRole", "") {
		return nil, fmt.Errorf("its trust policy does not let %s take it", service)
	}
	return found, nil
}

func (r *role) output(in input) output {
	return output{
		"Path":                     r.path,
		"RoleName":                 r.name,
		"RoleId":                   r.id,
		"Arn":                      in.arn("iam", "role"+r.path+r.name),
		"CreateDate":               r.created.UTC().Format(time.RFC3339),
		"AssumeRolePolicyDocument": escape(r.trustDocument),
		"Description":              r.description,
		"MaxSessionDuration":       r.maxSession,
	}
}

// escape encodes a document as IAM does, by RFC 3986.
func escape(document string) string { return strings.ReplaceAll(url.QueryEscape(document), "+", "%20") }
