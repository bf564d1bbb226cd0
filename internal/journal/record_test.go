package journal

import (
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func encoded(t testing.TB, r *record) []byte {
	t.Helper()
	data, err := r.marshal()
	require.NoError(t, err)
	return data
}

func TestRecordRoundTrip(t *testing.T) {
	issued := time.Date(2026, time.March, 1, 12, 0, 0, 7, time.UTC)
	for name, r := range map[string]*record{
		"probe":               {Version: 1, Phase: phaseProbe, Template: "fleet-template"},
		"created":             {Version: 1, Phase: phaseCreated, Template: "fleet-template", Token: "a token", Issued: issued, credentials: someCredentials(t, "a")},
		"created, to renew":   {Version: 1, Phase: phaseCreated, Renewal: true, Template: "fleet-template", Token: "a token", Issued: issued, credentials: someCredentials(t, "b")},
		"accepted":            {Version: 1, Phase: phaseAccepted, Template: "fleet-template", credentials: someCredentials(t, "c")},
		"without a time":      {Version: 1, Phase: phaseCreated, Template: "fleet-template", credentials: someCredentials(t, "d")},
		"without a template":  {Version: 1, Phase: phaseAccepted, credentials: someCredentials(t, "e")},
		"with a token beyond": {Version: 1, Phase: phaseAccepted, Token: "-----END FLEETPROV JOURNAL-----\n", credentials: someCredentials(t, "f")},
	} {
		t.Run(name, func(t *testing.T) {
			again, err := parse(encoded(t, r))
			require.NoError(t, err)
			assert.Equal(t, r, again)
		})
	}
}

// What devices in the field have written is read for as long as they live.
func TestRecordInWords(t *testing.T) {
	block, _ := pem.Decode(encoded(t, &record{Version: 1, Phase: phaseCreated, Renewal: true, Template: "fleet-template", Token: "a token",
		Issued: time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC), credentials: someCredentials(t, "a")}))
	require.NotNil(t, block)
	assert.Equal(t, "FLEETPROV JOURNAL", block.Type)
	assert.JSONEq(t, `{"version":1,"phase":"created","renewal":true,"template":"fleet-template","ownershipToken":"a token","issued":"2026-03-01T12:00:00Z"}`, string(block.Bytes))
}

// A store that takes the probe takes a journal.
func TestTheProbeIsAsLargeAsAJournal(t *testing.T) {
	probe := encoded(t, &record{Version: 1, Phase: phaseProbe, Template: "fleet-template"})
	assert.GreaterOrEqual(t, len(probe), probeSize)
	assert.Less(t, len(probe), 2*probeSize)
	assert.Greater(t, len(probe), len(encoded(t, &record{Version: 1, Phase: phaseCreated, Template: "fleet-template", Token: "a token", credentials: someCredentials(t, "a")})))
}

// journalOf encodes a journal of these words, with credentials behind it.
func journalOf(t testing.TB, words string) []byte {
	t.Helper()
	credentials, err := someCredentials(t, "a").Marshal()
	require.NoError(t, err)
	return append(pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: []byte(words)}), credentials...)
}

func TestRecordsThatAreRefused(t *testing.T) {
	whole := journalOf(t, `{"version":1,"phase":"created","template":"t"}`)
	_, err := parse(whole)
	require.NoError(t, err, "what follows is refused for what it says")
	for name, test := range map[string]struct {
		data []byte
		says string
	}{
		"empty":                    {nil, "there is no FLEETPROV JOURNAL block"},
		"no PEM":                   {[]byte("no journal"), "there is no FLEETPROV JOURNAL block"},
		"the credentials alone":    {whole[len(pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: []byte(`{"version":1,"phase":"created","template":"t"}`)})):], "there is no FLEETPROV JOURNAL block"},
		"no JSON":                  {journalOf(t, "damaged"), "the journal is damaged"},
		"JSON of another kind":     {journalOf(t, `["version"]`), "the journal is damaged: the JSON is of another kind"},
		"a field of another kind":  {journalOf(t, `{"version":1,"ownershipToken":7}`), "the journal is damaged: ownershipToken is of another kind"},
		"a newer version":          {journalOf(t, `{"version":2,"phase":"created"}`), "version 2 and this program knows 1"},
		"no version":               {journalOf(t, `{"phase":"created"}`), "version 0"},
		"an unknown phase":         {journalOf(t, `{"version":1,"phase":"registered"}`), `unknown phase "registered"`},
		"an endless phase":         {journalOf(t, `{"version":1,"phase":"registered and verified and more"}`), `unknown phase "registered and verif"`},
		"no phase":                 {journalOf(t, `{"version":1}`), "unknown phase"},
		"no credentials":           {pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: []byte(`{"version":1,"phase":"created"}`)}), "FLEETPROV METADATA"},
		"credentials, cut short":   {whole[:len(whole)-100], "the private key is missing"},
		"a probe of a new version": {journalOf(t, `{"version":2,"phase":"probe"}`), "version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := parse(test.data)
			assert.Nil(t, r)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

// FuzzParse: an error means a nil result, and what is accepted can be written and read
// again.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(journalOf(f, `{"version":1,"phase":"created","template":"t","ownershipToken":"a","issued":"2026-03-01T12:00:00Z"}`))
	f.Add(journalOf(f, `{"version":1,"phase":"accepted","renewal":true,"template":"t"}`))
	f.Add(journalOf(f, `{"version":1,"phase":"probe"}`))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: []byte(`{"version":1,"phase":"probe"}`)}))
	credentials, err := someCredentials(f, "a").Marshal()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		// Digest and signature do not come by chance; so the words are tried with
		// sound credentials, too.
		for _, data := range [][]byte{data, append(pem.EncodeToMemory(&pem.Block{Type: blockJournal, Bytes: data}), credentials...)} {
			r, err := parse(data)
			if err != nil {
				assert.Nil(t, r)
				continue
			}
			assert.Equal(t, version, r.Version)
			assert.Equal(t, r.Phase == phaseProbe, r.credentials == nil)
			text, err := json.Marshal(r)
			require.NoError(t, err, "what was read can be written: %s", text)
			again, err := parse(encoded(t, r))
			require.NoError(t, err)
			assert.True(t, r.Issued.Equal(again.Issued))
			again.Issued = r.Issued
			assert.Equal(t, r, again)
		}
	})
}
