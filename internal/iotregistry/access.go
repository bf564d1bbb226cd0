package iotregistry

import (
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

// Access returns what a client may do with a certificate. ok is false if the certificate
// is not active.
func (r *Registry) Access(certificateID, clientID string) (access Access, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.statusLocked(certificateID) != Active {
		return Access{}, false
	}
	access.Variables = r.variablesLocked(certificateID, clientID)
	if c := r.certificates.byID[certificateID]; c != nil {
		access.Policies, access.Missing = r.policies.of(c)
	} else {
		access.Policies = r.claimPoliciesLocked(certificateID)
	}
	return access, true
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
// whose name is the client id, if the certificate is attached to that one
// ("thing-policy-variables").
func (r *Registry) variablesLocked(certificateID, clientID string) map[string]string {
	variables := map[string]string{"iot:ClientId": clientID, "iot:Connection.Thing.IsAttached": "false"}
	thing := r.things.byName[clientID]
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
