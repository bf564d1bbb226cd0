package exchange_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/exchange"
)

const registerCBOR = "$aws/provisioning-templates/T/provision/cbor"

func unhex(t *testing.T, text string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return string(b)
}

func registerOverCBOR(t *testing.T, payload string) (*session, *exchange.Registered, error) {
	t.Helper()
	s := &session{topic: registerCBOR + "/accepted", payload: payload}
	client := exchange.Client{Session: s, Format: exchange.CBOR}
	registered, err := client.RegisterThing(t.Context(), registerCBOR, "tok", map[string]string{"S": "1"})
	return s, registered, err
}

func TestCBORRequestIsAMapOfTexts(t *testing.T) {
	s, _, err := registerOverCBOR(t, "\xa0")
	require.NoError(t, err)
	assert.Equal(t, unhex(t, "a2"+
		"78 19"+hex.EncodeToString([]byte("certificateOwnershipToken"))+"63"+hex.EncodeToString([]byte("tok"))+
		"6a"+hex.EncodeToString([]byte("parameters"))+"a1 6153 6131"), string(s.sent))
}

// Another decoder reads what is sent, at every length of a text's head.
func TestCBORRequestsAreReadByOthers(t *testing.T) {
	for _, n := range []int{0, 1, 23, 24, 255, 256, 4096, 65535, 65536} {
		s, client := accepting(registerCBOR, "\xa0")
		client.Format = exchange.CBOR
		parameters := map[string]string{"a": strings.Repeat("x", n), "ä": "€"}
		for i := range 30 {
			parameters[strings.Repeat("k", i+2)] = "v"
		}
		_, err := client.RegisterThing(t.Context(), registerCBOR, "tok", parameters)
		require.NoError(t, err)
		var request struct {
			Token      string            `cbor:"certificateOwnershipToken"`
			Parameters map[string]string `cbor:"parameters"`
		}
		require.NoError(t, cbor.Unmarshal(s.sent, &request))
		assert.Equal(t, "tok", request.Token)
		assert.Equal(t, parameters, request.Parameters)
	}
}

func TestCBORAnswersOfOtherEncoders(t *testing.T) {
	name := hex.EncodeToString([]byte("thingName"))
	for what, payload := range map[string]string{
		"definite lengths":        "a1 69" + name + "61 64",
		"indefinite map":          "bf 69" + name + "61 64 ff",
		"text in chunks":          "a1 69" + name + "7f 61 64 ff",
		"length in a longer form": "a1 78 09" + name + "78 01 64",
	} {
		t.Run(what, func(t *testing.T) {
			_, registered, err := registerOverCBOR(t, unhex(t, payload))
			require.NoError(t, err)
			assert.Equal(t, "d", registered.ThingName)
		})
	}
}

func TestCBORValuesThatAreNotTextsBecomeJSON(t *testing.T) {
	configuration := hex.EncodeToString([]byte("deviceConfiguration"))
	_, registered, err := registerOverCBOR(t, unhex(t, "a1 73"+configuration+"a4 6161 1903e8 6162 f5 6163 82 01 6178 6164 a1 6165 f6"))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"a": "1000", "b": "true", "c": `[1,"x"]`, "d": `{"e":null}`}, registered.DeviceConfiguration)
}

func TestCBORThingNameStandsBesideWhatIsOdd(t *testing.T) {
	name := "69" + hex.EncodeToString([]byte("thingName")) + "61 64"
	for what, payload := range map[string]string{
		"not a number":           "a2" + name + "6161 f97e00",
		"infinity":               "a2" + name + "6161 f97c00",
		"a key that is a number": "a2" + name + "01 02",
		"a simple value":         "a2" + name + "6161 f0",
		"bytes":                  "a2" + name + "6161 4101",
	} {
		t.Run(what, func(t *testing.T) {
			_, registered, err := registerOverCBOR(t, unhex(t, payload))
			require.NoError(t, err)
			assert.Equal(t, "d", registered.ThingName)
		})
	}
}

func TestCBORThatIsRefused(t *testing.T) {
	name := hex.EncodeToString([]byte("thingName"))
	for what, payload := range map[string]string{
		"empty":                    "",
		"duplicate keys":           "a2 69" + name + "61 64 69" + name + "61 65",
		"a name of bytes":          "a1 69" + name + "41 64",
		"truncated":                "a1 69" + name + "64 64",
		"followed by more":         "a0 a0",
		"a tagged value":           "c0 a0",
		"a text that is not UTF-8": "a1 69" + name + "61 ff",
		"nested without end":       strings.Repeat("81", 64) + "00",
		"a huge length":            "bb 7f ff ff ff ff ff ff ff",
	} {
		t.Run(what, func(t *testing.T) {
			_, registered, err := registerOverCBOR(t, unhex(t, payload))
			assert.ErrorIs(t, err, exchange.ErrBadResponse)
			assert.NotNil(t, registered, "AWS has accepted all the same")
		})
	}
}
