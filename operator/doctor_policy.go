package operator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// documents reads the policies with these names. If one is missing or not understood, that is
// found, and they are not complete: what they allow together cannot be judged.
func (d *doctor) documents(ctx context.Context, names []string) (documents []*iotpolicy.Document, complete bool, err error) {
	complete = true
	for _, name := range names {
		text, err := d.policyDocument(ctx, name)
		if isAbsent(err) {
			d.find(again, "there is no policy %s", name)
			complete = false
			continue
		}
		if err != nil {
			if err := d.missed(err, "the policy %s", name); err != nil {
				return nil, false, err
			}
			complete = false
			continue
		}
		parsed := d.parse("the policy "+name, text)
		complete = complete && parsed != nil
		documents = append(documents, parsed)
	}
	return documents, complete, nil
}

// parse returns nil for a policy that is not understood.
func (d *doctor) parse(what, text string) *iotpolicy.Document {
	parsed, err := iotpolicy.Parse([]byte(text))
	if err != nil {
		d.warn("check it by hand", "%s cannot be judged here: %v", what, err)
		return nil
	}
	return parsed
}

// deviceDocuments are the policies that the template gives to a device: those that it names,
// and those that are in it.
func (d *doctor) deviceDocuments(ctx context.Context) ([]*iotpolicy.Document, bool, error) {
	documents, complete, err := d.documents(ctx, d.policies)
	for _, text := range d.inline {
		parsed := d.parse(policyInTemplate, text)
		complete = complete && parsed != nil
		documents = append(documents, parsed)
	}
	return documents, complete, err
}

const policyInTemplate = "the policy in the template"

// devicePolicies names them.
func (d *doctor) devicePolicies() []string {
	if len(d.inline) == 0 {
		return d.policies
	}
	return append(slices.Clone(d.policies), policyInTemplate)
}

// device looks whether a device can connect once it is registered.
func (d *doctor) device(ctx context.Context) error {
	if d.thing == "" || len(d.devicePolicies()) == 0 {
		return nil
	}
	documents, complete, err := d.deviceDocuments(ctx)
	if err != nil || !complete {
		return err
	}
	connect := iotpolicy.Request{Action: iotpolicy.Connect, Resource: "client/" + d.thing, Variables: d.variables()}
	if !iotpolicy.Allowed(documents, connect) {
		d.find("let the policy allow client/${iot:Connection.Thing.ThingName}, or change the thing name", "%s not allow the thing %s to connect under its name", policiesDo(d.devicePolicies()), d.thing)
	}
	return nil
}

// variables are those of a device's connection under its thing name.
func (d *doctor) variables() map[string]string {
	return map[string]string{
		"iot:ClientId":                    d.thing,
		"iot:Connection.Thing.IsAttached": "true",
		"iot:Connection.Thing.ThingName":  d.thing,
	}
}

// caller is who makes the requests of an exchange.
type caller struct {
	name      string
	policies  []string // names
	documents []*iotpolicy.Document
	clientID  string
	variables map[string]string
}

// needed is one action on one set of topics, which fails as a whole or in part.
type needed struct {
	action    iotpolicy.Action
	topics    string // what the resources have in common
	resources []string
	purpose   string
}

// neededFor lists what a run with a template takes, with either flow and either format
// (fleet-provision-api).
func neededFor(template string) []needed {
	var all []needed
	for _, one := range []struct{ prefix, purpose string }{
		{"$aws/certificates/create", "CreateKeysAndCertificate"},
		{"$aws/certificates/create-from-csr", "CreateCertificateFromCsr, with a key of the device's own"},
		{"$aws/provisioning-templates/" + template + "/provision", "RegisterThing"},
	} {
		var requests, answers, filters []string
		for _, format := range []string{"json", "cbor"} {
			topic := one.prefix + "/" + format
			requests = append(requests, "topic/"+topic)
			for _, answer := range []string{"/accepted", "/rejected"} {
				answers = append(answers, "topic/"+topic+answer)
				filters = append(filters, "topicfilter/"+topic+answer)
			}
		}
		all = append(all,
			needed{iotpolicy.Publish, "topic/" + one.prefix + "/*", requests, one.purpose},
			needed{iotpolicy.Subscribe, "topicfilter/" + one.prefix + "/*", filters, one.purpose},
			needed{iotpolicy.Receive, "topic/" + one.prefix + "/*", answers, one.purpose},
		)
	}
	return all
}

// exchange looks whether a run may do all that it takes.
func (d *doctor) exchange(c caller, template string) {
	for _, n := range neededFor(template) {
		var missing []string
		for _, resource := range n.resources {
			if !iotpolicy.Allowed(c.documents, iotpolicy.Request{Action: n.action, Resource: resource, Variables: c.variables}) {
				missing = append(missing, resource)
			}
		}
		if len(missing) == 0 {
			continue
		}
		what := strings.Join(missing, ", ")
		if len(missing) == len(n.resources) {
			what = n.topics
		}
		d.find("add it, or run setup with -replace", "%s not allow %s %s on %s (for %s)", policiesDo(c.policies), c.name, n.action, what, n.purpose)
	}
}

// policiesDo is the subject of a sentence, up to its verb.
func policiesDo(names []string) string {
	if slices.Equal(names, []string{policyInTemplate}) {
		return policyInTemplate + " does"
	}
	if len(names) == 1 {
		return "the policy " + names[0] + " does"
	}
	return "the policies " + strings.Join(names, ", ") + " do"
}

func parameterList(parameters map[string]string) string {
	if len(parameters) == 0 {
		return "no parameters"
	}
	return fmt.Sprintf("the parameters %s", strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
}
