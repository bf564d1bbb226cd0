package iotregistry

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// Access is what the account knows of a connection.
type Access struct {
	Policies  []*iotpolicy.Document // attached to the certificate
	Variables map[string]string     // policy variables, by name

	// Missing are the names of attached policies that were not added. The policy of
	// devices is among Policies in their place.
	Missing []string
}

// Access returns what a client may do with a certificate. It fails if no client can
// connect with it, see [Registry.CanConnect].
func (r *Registry) Access(certificateID, clientID string) (Access, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	access, err := r.policiesLocked(certificateID)
	if err != nil {
		return Access{}, err
	}
	access.Variables = r.variablesLocked(certificateID, clientID)
	return access, nil
}

// CanConnect returns nil if a client can connect with a certificate, under one client id
// or another. The error says that the certificate is not known, not active, not active
// for long enough ([Rules]), or has no policy.
func (r *Registry) CanConnect(certificateID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.policiesLocked(certificateID)
	return err
}

// policiesLocked returns the policies of a certificate, without the variables.
func (r *Registry) policiesLocked(certificateID string) (access Access, err error) {
	c := r.certificates.byID[certificateID]
	switch status := r.statusLocked(certificateID); {
	case status == "":
		return Access{}, errors.New("the certificate is not known")
	case status != Active:
		return Access{}, fmt.Errorf("the certificate is %s", status)
	case c == nil:
		return Access{Policies: r.claimPoliciesLocked(certificateID)}, nil
	case r.now().Before(c.ConnectsFrom):
		return Access{}, errors.New("the certificate has not been active for as long as it takes")
	}
	access.Policies, access.Missing = r.policies.of(c)
	if len(access.Policies) == 0 {
		return Access{}, errors.New("the certificate has no policy")
	}
	return access, nil
}

// claimPoliciesLocked returns the policies of a claim. A temporary one is bound to its
// template.
func (r *Registry) claimPoliciesLocked(id string) []*iotpolicy.Document {
	if claim, temporary := r.claims.temporary[id]; temporary {
		if t, exists := r.templates.byName[claim.template]; exists {
			return []*iotpolicy.Document{t.claim}
		}
		return nil
	}
	if r.policies.claim != nil {
		return []*iotpolicy.Document{r.policies.claim}
	}
	var all []*iotpolicy.Document
	for _, t := range r.templates.byName {
		all = append(all, t.claim)
	}
	return all
}

// variablesLocked returns the policy variables of a connection. Its thing is the one
// whose name is the client id, if the certificate is attached to that one, or the
// exclusive thing of the certificate under any client id ("thing-policy-variables").
func (r *Registry) variablesLocked(certificateID, clientID string) map[string]string {
	variables := map[string]string{"iot:ClientId": clientID, "iot:Connection.Thing.IsAttached": "false"}
	thing := r.things.byName[clientID]
	if c := r.certificates.byID[certificateID]; c != nil && c.ExclusiveThing {
		thing = r.things.firstOf(certificateID)
	}
	if thing == nil || !slices.Contains(thing.CertificateIDs, certificateID) {
		return variables
	}
	variables["iot:Connection.Thing.IsAttached"] = "true"
	variables["iot:Connection.Thing.ThingName"] = thing.Name
	if thing.Type != "" {
		variables["iot:Connection.Thing.ThingTypeName"] = thing.Type
	}
	for name, value := range thing.Attributes {
		variables["iot:Connection.Thing.Attributes["+name+"]"] = value
	}
	return variables
}
