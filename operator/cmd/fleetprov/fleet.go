package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/fleetprov/fleetprov/operator"
)

// fleet is which fleet a command is about. Flags override the file.
type fleet struct {
	file                                    string
	name, thingName, devicePolicy, clientID string
	noClaim, noRenewal                      bool
	parameters                              map[string]*string
}

func (f *fleet) register(flags *flag.FlagSet) {
	f.parameters = make(map[string]*string)
	flags.StringVar(&f.file, "fleet", "", "JSON `file` that describes the fleet: see operator.Fleet; flags override it")
	flags.StringVar(&f.name, "name", "", "what the names in the account begin with, a `name` (default fleet)")
	flags.StringVar(&f.thingName, "thing-name", "", "`pattern` of the thing names, with {SerialNumber} in it once (default device-{SerialNumber}, with -name after that name and -)")
	flags.Func("parameter", "another parameter that devices send, as `name`, or as name=value with the value for those that do not;\nrepeatable", f.addParameter)
	flags.StringVar(&f.devicePolicy, "device-policy", "", "policy of the devices, a JSON `file`, in which REGION and ACCOUNT_ID are replaced\n(default one with the topics below devices/<thing name>/)")
	flags.StringVar(&f.clientID, "client-id", "", "`pattern` of the client ids that devices use with the claim (default fleetprov-*)")
	flags.BoolVar(&f.noClaim, "no-claim", false, "leave out the claim that devices share: each gets one of its own, from trusted")
	flags.BoolVar(&f.noRenewal, "no-renewal", false, "leave out what devices renew their certificates with")
}

func (f *fleet) addParameter(text string) error {
	name, value, given := strings.Cut(text, "=")
	if _, twice := f.parameters[name]; twice {
		return fmt.Errorf("%q is given twice", name)
	}
	f.parameters[name] = nil
	if given {
		f.parameters[name] = &value
	}
	return nil
}

// load reads the files.
func (f *fleet) load() (operator.Fleet, error) {
	var loaded operator.Fleet
	if f.file != "" {
		var err error
		if loaded, err = operator.LoadFleet(f.file); err != nil {
			return operator.Fleet{}, err
		}
	}
	for given, field := range map[*string]*string{&f.name: &loaded.Name, &f.thingName: &loaded.ThingName, &f.clientID: &loaded.ClientID} {
		if *given != "" {
			*field = *given
		}
	}
	loaded.NoClaim = loaded.NoClaim || f.noClaim
	loaded.NoRenewal = loaded.NoRenewal || f.noRenewal
	if loaded.Parameters == nil {
		loaded.Parameters = make(map[string]*string)
	}
	maps.Copy(loaded.Parameters, f.parameters)
	if f.devicePolicy == "" {
		return loaded, nil
	}
	data, err := os.ReadFile(f.devicePolicy)
	if err == nil && len(data) == 0 {
		err = errors.New(f.devicePolicy + " is empty")
	}
	loaded.DevicePolicy = data
	return loaded, err
}
