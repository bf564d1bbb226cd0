package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

func TestTheControlPlaneIsServed(t *testing.T) {
	p := start(t, t.TempDir(), "-control", "127.0.0.1:0")
	_, url, found := strings.Cut(p.stdout.String(), "control: ")
	require.True(t, found)
	url, _, _ = strings.Cut(url, "\n")
	_, err := p.provision(serialNumber)
	require.NoError(t, err)

	request, err := http.NewRequestWithContext(provtest.Context(t), "GET", url+"/things", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "any")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer struct{ Things []struct{ ThingName string } }
	require.NoError(t, json.Unmarshal(data, &answer))
	require.Len(t, answer.Things, 1)
	assert.Equal(t, "0001", answer.Things[0].ThingName)
	p.logs("msg=ListThings", "service=iot")
	p.end()
	_, err = http.DefaultClient.Do(request)
	assert.Error(t, err, "it ends with the program")
}

func TestTheControlPlaneIsOfThisMachine(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "example.com:0", "127.0.0.1", "127.0.0.1:x"} {
		var stdout, stderr provtest.Screen
		assert.Equal(t, 2, run(context.Background(), []string{"-dir", t.TempDir(), "-control", address}, &stdout, &stderr))
		assert.Contains(t, stderr.String(), "invalid -control")
	}
}
