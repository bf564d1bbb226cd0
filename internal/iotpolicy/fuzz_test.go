package iotpolicy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotpolicy"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(statements(onTopic("Allow", "topic/a/*"), onTopic("Deny", "topic/${iot:ClientId}"))))
	f.Add([]byte(statements(`{"Effect": "Allow", "Action": ["iot:*", "*"], "Resource": "*", "Condition": {"StringNotLike": {"iot:ClientId": ["${*}?", 1, true]}}}`)))
	f.Add([]byte(statements(`{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*", "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}}`)))
	f.Add([]byte(statements(`{"Effect": "Allow", "Action": "iot:Publish", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": []}, "ForAnyValue:StringNotLike": {"iot:ClientId": "${iot:ClientId}*"}}}`)))
	f.Add([]byte(`{"Version": "2012-10-17", "Statement": {"Sid": "", "Effect": "Deny", "Action": "*", "Resource": ["*"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		document, err := iotpolicy.Parse(data)
		if err != nil {
			require.Nil(t, document)
			return
		}
		require.True(t, json.Valid(data))
		for _, values := range []map[string]string{nil, {"iot:ClientId": "a", "iot:Connection.Thing.IsAttached": "true"}} {
			request := iotpolicy.Request{Action: iotpolicy.Publish, Resource: "topic/a", Variables: values}
			allowed := iotpolicy.Allowed([]*iotpolicy.Document{document}, request)
			require.Equal(t, allowed, iotpolicy.Allowed([]*iotpolicy.Document{document, document}, request), "the same document twice")
			request.Action = "iot:publish"
			require.Equal(t, allowed, iotpolicy.Allowed([]*iotpolicy.Document{document}, request), "an action in lower case")
			request.Values = map[string][]string{"iot:ConnectAttributes": {}}
			require.Equal(t, allowed, iotpolicy.Allowed([]*iotpolicy.Document{document}, request), "a key with no values")

			request.Values = map[string][]string{"iot:ConnectAttributes": {"PersistentConnect", "LastWill"}}
			allowed = iotpolicy.Allowed([]*iotpolicy.Document{document}, request)
			request.Values = map[string][]string{"iot:ConnectAttributes": {"LastWill", "PersistentConnect", "LastWill"}}
			require.Equal(t, allowed, iotpolicy.Allowed([]*iotpolicy.Document{document}, request), "the same set of values")
		}
	})
}

// FuzzMatch compares the matching of resources, with and without a variable, with a
// matcher that keeps track of every possibility.
func FuzzMatch(f *testing.F) {
	f.Add("topic/a/*", "topic/a/b/c", "c1")
	f.Add("*a*a*a*b", "aaaaaaaa", "")
	f.Add("?*?", "é", "?")
	f.Add("a*b?c**", "aXbYbZc", "*")
	f.Add("+/#", "+/#", "+")
	f.Fuzz(func(t *testing.T, pattern, text, clientID string) {
		pattern, text, clientID = strings.ToValidUTF8(pattern, "."), strings.ToValidUTF8(text, "."), strings.ToValidUTF8(clientID, ".")
		if pattern == "" || strings.Contains(pattern, "${") {
			return
		}
		for _, test := range []struct {
			resource, text string
		}{
			{pattern, text},
			{pattern + "${iot:ClientId}", text + clientID},
			{"${iot:ClientId}" + pattern, text},
		} {
			symbols := symbolsOf(test.resource, clientID)
			document, err := json.Marshal(map[string]any{
				"Version":   "2012-10-17",
				"Statement": map[string]string{"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:r:a:" + test.resource},
			})
			require.NoError(t, err)
			parsed, err := iotpolicy.Parse(document)
			if err != nil {
				require.ErrorContains(t, err, "besides white space")
				return
			}
			assert.Equal(t, matchesAll(symbols, []rune(test.text)), iotpolicy.Allowed([]*iotpolicy.Document{parsed}, iotpolicy.Request{
				Action:    iotpolicy.Connect,
				Resource:  test.text,
				Variables: map[string]string{"iot:ClientId": clientID},
			}), "%q and %q with %q", test.resource, test.text, clientID)
		}
	})
}

// symbolsOf returns the characters of a resource, its wildcards negative, with
// the client id in the place of its variable.
func symbolsOf(resource, clientID string) []rune {
	var symbols []rune
	for i, part := range strings.Split(resource, "${iot:ClientId}") {
		if i > 0 {
			symbols = append(symbols, []rune(clientID)...)
		}
		for _, char := range part {
			if char == '*' || char == '?' {
				char = -char
			}
			symbols = append(symbols, char)
		}
	}
	return symbols
}

// matchesAll goes through the symbols, and keeps all places in the text that
// can be reached by them.
func matchesAll(symbols, text []rune) bool {
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for _, symbol := range symbols {
		next := make([]bool, len(text)+1)
		for place := range reached {
			switch {
			case symbol == -'*':
				next[place] = reached[place] || place > 0 && next[place-1]
			case place > 0 && (symbol == -'?' || symbol == text[place-1]):
				next[place] = reached[place-1]
			}
		}
		reached = next
	}
	return reached[len(text)]
}
