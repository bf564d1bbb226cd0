package operator

import (
	"context"
	"crypto/x509"
)

// Setup is what [Account.PlanSetup] makes.
type Setup struct {
	Fleet         Fleet
	SerialNumbers []string          // are added to the hook's list
	ClaimFile     string            // the PFX; default claim_identity.pfx
	Root          *x509.Certificate // in the PFX: see Claim.PFX

	// Replace lets what has the fleet's names and is different be made what the fleet needs.
	// Without it, that is an error: it may be somebody else's. With PlanTeardown, it lets
	// that be removed.
	Replace bool
}

// PlanSetup looks at what is in the account, and returns what is to be made so that devices
// of the fleet can provision themselves: roles, policies, hooks, templates and a claim. The
// plan is empty if nothing is missing. It changes nothing.
func (a *Account) PlanSetup(ctx context.Context, s Setup) (*Plan, error) {
	parts, err := a.parts(s)
	if err != nil {
		return nil, err
	}
	return planFor(ctx, parts, s.Replace)
}

// parts are those of a fleet, each after what it needs.
func (a *Account) parts(s Setup) ([]part, error) {
	f, err := s.Fleet.complete()
	if err != nil {
		return nil, err
	}
	for _, serialNumber := range s.SerialNumbers {
		if err := f.checkSerialNumber(serialNumber); err != nil {
			return nil, err
		}
	}
	setDefault(&s.ClaimFile, "claim_identity.pfx")
	parts, err := a.provisioning(f, s.SerialNumbers)
	if err != nil {
		return nil, err
	}
	if !f.NoRenewal {
		renewal, err := a.renewal(f)
		if err != nil {
			return nil, err
		}
		parts = append(parts, renewal...)
	}
	if f.NoClaim {
		return parts, nil
	}
	return append(parts,
		policy{a, f.Names.ClaimPolicy, a.document(f, "claim-policy.json")},
		claim{a, f.Names.ClaimPolicy, claimFiles{s.ClaimFile}, s.Root},
	), nil
}

// provisioning is what new devices need, but for the claim.
func (a *Account) provisioning(f Fleet, serials []string) ([]part, error) {
	body, err := a.template(f)
	if err != nil {
		return nil, err
	}
	n := f.Names
	parts := []part{
		role{a, n.ProvisioningRole, a.document(f, "provisioning-role-trust-policy.json")},
		managedPolicy{a, n.ProvisioningRole, "AWSIoTThingsRegistration"},
		policy{a, n.DevicePolicy, a.devicePolicy(f)},
	}
	if !f.NoRenewal {
		parts = append(parts, policy{a, n.RotationPolicy, a.document(f, "rotation-policy.json")})
	}
	parts = append(parts,
		role{a, n.HookRole, a.document(f, "hook-role-trust-policy.json")},
		managedPolicy{a, n.HookRole, "AWSLambdaBasicExecutionRole"},
		inlinePolicy{a, n.HookRole, n.HookRolePolicy, a.document(f, "hook-role-policy.json")},
		hook{a, n.ProvisioningHook, n.HookRole, "provisioning_hook", f.hookVariables(), true},
		permission{a, n.ProvisioningHook, n.Template},
	)
	if len(serials) > 0 {
		parts = append(parts, serialNumbers{a, f, serials})
	}
	return append(parts, template{a, n.Template, body, n.ProvisioningRole, n.ProvisioningHook}), nil
}

// renewal is what devices renew their certificates with, but for the policy.
func (a *Account) renewal(f Fleet) ([]part, error) {
	body, err := a.rotationTemplate(f)
	if err != nil {
		return nil, err
	}
	n := f.Names
	return []part{
		hook{a, n.RotationHook, n.HookRole, "rotation_hook", nil, false},
		permission{a, n.RotationHook, n.RotationTemplate},
		template{a, n.RotationTemplate, body, n.ProvisioningRole, n.RotationHook},
	}, nil
}

// hookVariables are the environment of the hook of new devices, which knows the default by
// itself.
func (f Fleet) hookVariables() map[string]string {
	if f.ThingName == defaultThingName {
		return nil
	}
	return map[string]string{"THING_NAME": f.ThingName}
}
