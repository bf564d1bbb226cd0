package operator

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iot/types"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

// claims looks at a claim, or at all that have the fleet's policy, if it is to have one.
func (d *doctor) claims(ctx context.Context, id string) error {
	switch {
	case id != "":
		return d.claim(ctx, id)
	case d.fleet.NoClaim:
		return nil
	}
	name := d.fleet.Names.ClaimPolicy
	ids, err := d.certificatesWith(ctx, name)
	if err != nil {
		return d.missed(err, "which claims have the policy %s", name)
	}
	active := 0
	for _, id := range ids {
		status, err := d.status(ctx, id)
		if err == nil && status != types.CertificateStatusActive {
			continue
		}
		active++
		if err := d.claim(ctx, id); err != nil {
			return err
		}
	}
	switch {
	case len(ids) == 0:
		d.find("run setup, or attach the policy to your claim, or say -no-claim if devices are to have none", "no certificate has the policy %s, so that there is no claim", name)
	case active == 0:
		d.find("make another with claim, or activate one, or say -no-claim if devices are to have none", "no claim is active: the policy %s has %d that are not", name, len(ids))
	}
	return nil
}

func (d *doctor) claim(ctx context.Context, id string) error {
	status, err := d.status(ctx, id)
	if err != nil {
		return d.missed(err, "the claim %s", id)
	}
	if status == "" {
		d.find("check its id and the region", "there is no claim %s in %s", id, d.region)
		return nil
	}
	if status != types.CertificateStatusActive {
		d.find("activate it, or make another with claim", "the claim %s is %s", id, status)
	}
	names, err := d.policiesOf(ctx, id)
	if err != nil {
		return d.missed(err, "which policies the claim %s has", id)
	}
	if len(names) == 0 {
		d.find("attach the policy "+d.fleet.Names.ClaimPolicy, "the claim %s has no policy, so that it may do nothing", id)
		return nil
	}
	documents, complete, err := d.documents(ctx, names)
	if err != nil || !complete {
		return err
	}
	d.clientIDs(names, documents)
	client := sample(d.fleet.ClientID)
	d.exchange(caller{"a claim", names, documents, client, claimVariables(client)}, d.fleet.Names.Template)
	return nil
}

// clientIDs looks under which client ids a claim may connect.
func (d *doctor) clientIDs(names []string, documents []*iotpolicy.Document) {
	may := func(client string) bool {
		return iotpolicy.Allowed(documents, iotpolicy.Request{Action: iotpolicy.Connect, Resource: "client/" + client, Variables: claimVariables(client)})
	}
	if !may(sample(d.fleet.ClientID)) {
		d.find("let it allow client/"+d.fleet.ClientID+", or tell the devices another client id", "%s not allow a claim to connect under the client ids that devices use, %s", policiesDo(names), d.fleet.ClientID)
	}
	if thing := d.fleet.thingOf(anySerialNumber); may(thing) && !like(d.fleet.ClientID, thing) {
		d.warn("run setup with -replace", "a claim may connect under the client id of any device, such as %s, and end its session", thing)
	}
}

// claimVariables are those of a connection with a claim, which is attached to no thing.
func claimVariables(client string) map[string]string {
	return map[string]string{"iot:ClientId": client, "iot:Connection.Thing.IsAttached": "false"}
}

// sample returns a client id of a pattern: what the library uses has 26 letters and digits.
func sample(pattern string) string {
	return strings.ReplaceAll(pattern, "*", "2345ABCDEFGHIJKLMNOPQRSTUV")
}
