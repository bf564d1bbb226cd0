package operator

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	documents "github.com/fleetprov/fleetprov/examples/aws"
)

// document returns a document of examples/aws, filled in for a fleet. It panics if there is
// none of that name, since they are part of the program.
func (a *Account) document(f Fleet, file string) string {
	return a.fill(f, string(read(file)))
}

func read(file string) []byte {
	data, err := documents.Documents.ReadFile(file)
	if err != nil {
		panic("operator: " + err.Error())
	}
	return data
}

// fill replaces the placeholders in a document, and the names that those of examples/aws
// have.
func (a *Account) fill(f Fleet, document string) string {
	replacements := []string{
		"REGION", a.region,
		"ACCOUNT_ID", a.id,
		"arn:aws:", "arn:" + a.partition() + ":",
		"client/fleetprov-*", "client/" + f.ClientID,
	}
	for _, n := range f.Names.all() {
		replacements = append(replacements, "fleet"+n.suffix, *n.value)
	}
	return strings.NewReplacer(replacements...).Replace(document)
}

func (a *Account) devicePolicy(f Fleet) string {
	if f.DevicePolicy == nil {
		return a.document(f, "device-policy.json")
	}
	return strings.NewReplacer("REGION", a.region, "ACCOUNT_ID", a.id).Replace(string(f.DevicePolicy))
}

// template returns the body of the template, with the fleet's parameters and thing name.
func (a *Account) template(f Fleet) (string, error) {
	return editTemplate(a.document(f, "provisioning-template.json"), func(body map[string]any) {
		parameters := body["Parameters"].(map[string]any)
		for name, value := range f.Parameters {
			parameter := map[string]any{"Type": "String"}
			if value != nil {
				parameter["Default"] = *value
			}
			parameters[name] = parameter
		}
		thing := body["Resources"].(map[string]any)["thing"].(map[string]any)
		properties := thing["Properties"].(map[string]any)
		properties["ThingName"] = f.thingNameExpression()
		if name := f.attribute(); name != "" {
			properties["AttributePayload"].(map[string]any)[fleetAttribute] = name
		}
		f.dropRenewal(body)
	})
}

// thingNameExpression is ThingName as a template has it.
func (f Fleet) thingNameExpression() any {
	before, after, _ := strings.Cut(f.ThingName, placeholder)
	var pieces []any
	for _, piece := range []any{before, map[string]any{"Ref": SerialNumber}, after} {
		if piece != "" {
			pieces = append(pieces, piece)
		}
	}
	return map[string]any{"Fn::Join": []any{"", pieces}}
}

func (a *Account) rotationTemplate(f Fleet) (string, error) {
	return editTemplate(a.document(f, "rotation-template.json"), f.dropRenewal)
}

// dropRenewal takes the policy out of a template that a fleet without renewal has not.
func (f Fleet) dropRenewal(body map[string]any) {
	if f.NoRenewal {
		delete(body["Resources"].(map[string]any), "rotationPolicy")
	}
}

// editTemplate changes a template, and fails if AWS would not take what comes of it.
func editTemplate(body string, edit func(map[string]any)) (string, error) {
	var content map[string]any
	if err := json.Unmarshal([]byte(body), &content); err != nil {
		return "", fmt.Errorf("the template: %w", err)
	}
	edit(content)
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return "", err
	}
	if n := len([]rune(string(data))); n > 10240 { // API_CreateProvisioningTemplate
		return "", fmt.Errorf("the template has %d characters, and AWS takes 10240: declare fewer parameters", n)
	}
	return string(data), nil
}

// sameJSON reports whether two documents say the same, whatever their white space.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
