package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

// instructions are for a POSIX shell. AWS IoT answers on the connection that asked,
// so the client must be mosquitto_rr, which publishes and subscribes on one. It is
// given -m, because its -f and -s send nothing in version 2.0.11, which Debian has.
const instructions = `endpoint: {{.Host}}:{{.Port}}
template: {{.Template}}
files:    {{.Dir}}
password: {{.Password}} (of claim_identity.pfx)
{{if .Named}}
{{.Host}} must resolve to this machine, by DNS or /etc/hosts.
{{end}}
{{- if .Reachable}}
With this library, in the directory of its repository:

  AWS_HOSTNAME={{.Host}}:{{.Port}} TEMPLATE_NAME={{.Template}} IDENTITY_PASSWORD={{quote .Password}} \
    go run ./examples/provisioning -pfx {{path "claim_identity.pfx"}} -out {{path "device"}}{{range .Parameters}} -param {{quote .}}=0001{{end}}

With AWS's Common Runtime for Python, which is the package python3-awscrt of Debian, and which
the AWS IoT Device SDK for Python v2 is made of; in the directory of this repository:

  python3 examples/simulator/provision.py {{.Host}} {{.Port}} {{.Template}} {{values "0002" | quote}} {{quote .Dir}}
{{else}}
This library and the AWS SDKs offer the protocol that -alpn requires on port 443 only: -addr 127.0.0.1:443.
{{end}}
With Mosquitto's clients: a device is provisioned with the claim, and publishes and
subscribes under its thing name, until Ctrl-C.

  cd {{quote .Dir}} && umask 077
  with() { name=$1; shift; "$@" -h {{.Host}} -p {{.Port}} --cafile root-ca.pem --cert $name.pem.crt --key $name.pem.key -q 1{{if .ALPN}} --tls-alpn x-amzn-mqtt-ca{{end}}; }
  ask() { with claim mosquitto_rr -V mqttv311 -W 10 -i fleetprov-claim -t "$1" -e "$1/accepted" -m "$2"; }
  field() { printf '%b\n' "$(sed 's/.*"'$2'":"\([^"]*\)".*/\1/' $1)"; }
  ask '$aws/certificates/create/json' '{}' >created.json
  field created.json certificatePem >device.pem.crt
  field created.json privateKey >device.pem.key
  token=$(field created.json certificateOwnershipToken)
  ask '$aws/provisioning-templates/{{.Template}}/provision/json' \
    '{"certificateOwnershipToken":"'$token'","parameters":'{{values "0003" | quote}}'}' >registered.json
  thing=$(field registered.json thingName)
  with device mosquitto_pub -i "$thing" -t "devices/$thing/telemetry" -m '{"celsius":21}'
  with device mosquitto_sub -i "$thing" -t "devices/$thing/#" -v
`

// printInstructions says where the endpoint is and what to try.
func (sim *simulator) printInstructions(w io.Writer, dir string) error {
	_, port, err := net.SplitHostPort(sim.server.Endpoint())
	if err != nil {
		return err
	}
	host := "localhost"
	if len(sim.serverNames) > 0 {
		host = sim.serverNames[0]
	}
	functions := template.FuncMap{
		"quote":  quote,
		"path":   func(name string) string { return quote(filepath.Join(dir, name)) },
		"values": sim.values,
	}
	var whole bytes.Buffer // so that a program reading them never sees half a line
	err = template.Must(template.New("").Funcs(functions).Parse(instructions)).Execute(&whole, map[string]any{
		"Host":       host,
		"Port":       port,
		"Named":      len(sim.serverNames) > 0,
		"Template":   sim.templateName,
		"Parameters": sim.parameters,
		"Dir":        dir,
		"Password":   sim.password,
		"ALPN":       sim.alpn || port == "443",
		"Reachable":  !sim.alpn || port == "443",
	})
	if err != nil {
		return err
	}
	_, err = whole.WriteTo(w)
	return err
}

// values returns the parameters as JSON, all with the same value.
func (sim *simulator) values(value string) (string, error) {
	values := make(map[string]string)
	for _, name := range sim.parameters {
		values[name] = value
	}
	object, err := json.Marshal(values)
	return string(object), err
}

var plain = regexp.MustCompile(`^[0-9A-Za-z_./:=@%+-]+$`)

// quote makes a string one word for the shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
