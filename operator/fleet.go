package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// SerialNumber is the parameter of the template that every fleet has. The hook looks it up
// in its list.
const SerialNumber = "SerialNumber"

const (
	placeholder      = "{" + SerialNumber + "}"
	defaultName      = "fleet"
	defaultThingName = "device-" + placeholder
)

// fleetAttribute is the attribute of a thing that has the fleet's name, but for the fleet of
// that default name: its template is the one of examples/aws.
const fleetAttribute = "fleet"

func (f Fleet) attribute() string {
	if f.Name == defaultName {
		return ""
	}
	return f.Name
}

// Fleet describes a fleet: what it is called in the account, and what its devices are given.
// The zero Fleet is the one of examples/aws.
type Fleet struct {
	// Name is what all names begin with that Names does not set, at most 18 letters, digits,
	// _ and -. Default: fleet.
	Name  string `json:"name"`
	Names Names  `json:"names"`

	// ThingName is the name of a device's thing, with {SerialNumber} in it once. It names
	// no other parameter: what a serial number may do must not depend on what else a device
	// says. Default: device-{SerialNumber}, after the fleet's name and - unless that is fleet:
	// two fleets of an account must not have a thing name in common.
	ThingName string `json:"thingName"`

	// Parameters are those of the template besides SerialNumber, with the value that is
	// taken if a device sends none. A nil says that each device has to send it.
	Parameters map[string]*string `json:"parameters"`

	// DevicePolicy is the policy document of the devices, in which REGION and ACCOUNT_ID
	// stand for this account's. Default: each device has the topics below
	// devices/<thing name>/.
	DevicePolicy json.RawMessage `json:"devicePolicy"`

	// ClientID is what the client ids of devices look like that use the claim, where * is
	// anything. Default: fleetprov-*, which is what this library uses. Whoever has the claim
	// can end the sessions of all clients with such an id.
	ClientID string `json:"clientId"`

	// NoClaim leaves out the claim that devices share, and its policy: each device gets one of
	// its own, from [NewTrustedClaim].
	NoClaim bool `json:"noClaim"`

	// NoRenewal leaves out what devices renew their certificates with.
	NoRenewal bool `json:"noRenewal"`
}

// Names are names in the account. Each has a default, which begins with the fleet's name.
type Names struct {
	ProvisioningRole string `json:"provisioningRole"` // fleet-provisioning-role
	HookRole         string `json:"hookRole"`         // fleet-hook-role
	HookRolePolicy   string `json:"hookRolePolicy"`   // fleet-hook-role-policy
	DevicePolicy     string `json:"devicePolicy"`     // fleet-device-policy
	RotationPolicy   string `json:"rotationPolicy"`   // fleet-rotation-policy
	ClaimPolicy      string `json:"claimPolicy"`      // fleet-claim-policy
	Template         string `json:"template"`         // fleet-template
	RotationTemplate string `json:"rotationTemplate"` // fleet-rotation-template
	ProvisioningHook string `json:"provisioningHook"` // fleet-provisioning-hook
	RotationHook     string `json:"rotationHook"`     // fleet-rotation-hook
}

// LoadFleet reads a fleet from a JSON file, whose members are the fields of [Fleet]. One
// that is not known is an error.
func LoadFleet(path string) (Fleet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Fleet{}, fmt.Errorf("reading the fleet: %w", err)
	}
	var f Fleet
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return Fleet{}, fmt.Errorf("reading the fleet in %s: %w", path, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Fleet{}, fmt.Errorf("reading the fleet in %s: there is more behind the object", path)
	}
	return f, nil
}

var (
	fleetName     = regexp.MustCompile(`^[0-9A-Za-z_-]{1,18}$`)
	templateName  = regexp.MustCompile(`^[0-9A-Za-z_-]{1,36}$`)
	roleName      = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	policyName    = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	functionName  = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	parameterName = regexp.MustCompile(`^[0-9A-Za-z_.-]{1,128}$`)
	thingText     = regexp.MustCompile(`^[0-9A-Za-z:_-]{0,128}$`)
	clientPattern = regexp.MustCompile(`^[0-9A-Za-z:_.*-]{1,128}$`)
)

// complete returns the fleet with its defaults, or all that is wrong with it.
func (f Fleet) complete() (Fleet, error) {
	setDefault(&f.Name, defaultName)
	if f.Name != defaultName {
		setDefault(&f.ThingName, f.Name+"-"+defaultThingName)
	}
	setDefault(&f.ThingName, defaultThingName)
	setDefault(&f.ClientID, "fleetprov-*")
	if !fleetName.MatchString(f.Name) {
		return Fleet{}, fmt.Errorf("the fleet's name %q must be 1 to 18 letters, digits, _ and -", f.Name)
	}
	var problems []error
	for _, n := range f.Names.all() {
		setDefault(n.value, f.Name+n.suffix)
		if !n.pattern.MatchString(*n.value) {
			problems = append(problems, fmt.Errorf("%q cannot be the name of a %s: it must match %s", *n.value, n.what, n.pattern))
		}
	}
	return f, errors.Join(append(problems, f.check()...)...)
}

func setDefault(value *string, standard string) {
	if *value == "" {
		*value = standard
	}
}

func (f Fleet) check() []error {
	var problems []error
	report := func(format string, arguments ...any) { problems = append(problems, fmt.Errorf(format, arguments...)) }
	before, after, found := strings.Cut(f.ThingName, placeholder)
	if !found || !thingText.MatchString(before+after) {
		report("the thing name %q must have {%s} in it once, and besides it letters, digits, :, _ and -", f.ThingName, SerialNumber)
	}
	if !clientPattern.MatchString(f.ClientID) {
		report("the client id %q must be letters, digits, :, _, ., - and *", f.ClientID)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Parameters)) {
		switch {
		case name == SerialNumber:
			report("the parameter %s is there in any case, and has no default", name)
		case !parameterName.MatchString(name):
			report("the parameter %q must be letters, digits, _, . and -", name)
		}
	}
	if f.DevicePolicy != nil && !json.Valid(f.DevicePolicy) {
		report("the device policy is not JSON")
	}
	return problems
}

// name is one of the Names.
type name struct {
	value        *string
	suffix, what string
	pattern      *regexp.Regexp
}

func (n *Names) all() []name {
	return []name{
		{&n.ProvisioningRole, "-provisioning-role", "role", roleName},
		{&n.HookRole, "-hook-role", "role", roleName},
		{&n.HookRolePolicy, "-hook-role-policy", "policy of a role", policyName},
		{&n.DevicePolicy, "-device-policy", "policy", policyName},
		{&n.RotationPolicy, "-rotation-policy", "policy", policyName},
		{&n.ClaimPolicy, "-claim-policy", "policy", policyName},
		{&n.Template, "-template", "template", templateName},
		{&n.RotationTemplate, "-rotation-template", "template", templateName},
		{&n.ProvisioningHook, "-provisioning-hook", "function", functionName},
		{&n.RotationHook, "-rotation-hook", "function", functionName},
	}
}

// thingOf returns the name of the thing of a serial number.
func (f Fleet) thingOf(serialNumber string) string {
	return strings.Replace(f.ThingName, placeholder, serialNumber, 1)
}

// checkSerialNumber fails if no thing could have its name from the serial number.
func (f Fleet) checkSerialNumber(serialNumber string) error {
	if serialNumber == "" || !thingText.MatchString(f.thingOf(serialNumber)) {
		return fmt.Errorf("the serial number %q cannot be in the name of a thing, which has at most 128 letters, digits, :, _ and -", serialNumber)
	}
	return nil
}
