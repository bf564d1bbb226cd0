package fleetprovtest

import (
	"encoding/json"
	"errors"

	"github.com/fxamacker/cbor/v2"
)

// strictCBOR refuses maps in which a key is given twice: decoders differ on which of
// the two counts.
var strictCBOR = func() cbor.DecMode {
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode()
	if err != nil {
		panic("fleetprovtest: " + err.Error())
	}
	return mode
}()

// fields are the members of a request by their exact names, not yet decoded.
type fields map[string][]byte

var errNotAnObject = errors.New("the payload is not an object")

// parse decodes the outermost object of a request.
func (f format) parse(payload []byte) (fields, error) {
	var members fields
	switch f {
	case formatJSON:
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(payload, &raw); err != nil {
			return nil, err
		}
		members = convert(raw)
	case formatCBOR:
		var raw map[string]cbor.RawMessage
		if err := strictCBOR.Unmarshal(payload, &raw); err != nil {
			return nil, err
		}
		members = convert(raw)
	}
	if members == nil { // the payload was null
		return nil, errNotAnObject
	}
	return members, nil
}

func convert[M ~[]byte](raw map[string]M) fields {
	if raw == nil {
		return nil
	}
	members := make(fields, len(raw))
	for name, value := range raw {
		members[name] = value
	}
	return members
}

// decode decodes one member of a request. Into a pointer, a null stays nil.
func (f format) decode(member []byte, into any) error {
	if f == formatCBOR {
		return strictCBOR.Unmarshal(member, into)
	}
	return json.Unmarshal(member, into)
}

// encode encodes an answer. Its json tags name the members in CBOR, too.
func (f format) encode(answer any) []byte {
	marshal := json.Marshal
	if f == formatCBOR {
		marshal = cbor.Marshal
	}
	payload, err := marshal(answer)
	if err != nil {
		panic("fleetprovtest: encode an answer: " + err.Error())
	}
	return payload
}

// optionalString returns "" if the member is missing.
func (f format) optionalString(members fields, name string) (string, error) {
	member, ok := members[name]
	if !ok {
		return "", nil
	}
	var value *string
	if err := f.decode(member, &value); err != nil || value == nil {
		return "", errors.New(name + " is not a string")
	}
	return *value, nil
}

// optionalStrings returns an empty map if the member is missing.
func (f format) optionalStrings(members fields, name string) (map[string]string, error) {
	values := map[string]string{}
	member, ok := members[name]
	if !ok {
		return values, nil
	}
	var decoded map[string]*string
	if err := f.decode(member, &decoded); err != nil || decoded == nil {
		return nil, errors.New(name + " is not a map of strings")
	}
	for key, value := range decoded {
		if value == nil {
			return nil, errors.New(name + " is not a map of strings")
		}
		values[key] = *value
	}
	return values, nil
}
