package fleetprovtest_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/fleetprovtest"
)

// The names are those of the AWS developer guide, "pre-provisioning-hook".
func TestHookHasTheJSONOfAWS(t *testing.T) {
	event, err := json.Marshal(fleetprovtest.HookRequest{
		ClaimCertificateID: "a", CertificateID: "b", CertificatePEM: "c", TemplateARN: "d", ClientID: "e",
		Parameters: map[string]string{"SerialNumber": "0001"},
	})
	require.NoError(t, err)
	assert.JSONEq(t, `{"claimCertificateId":"a","certificateId":"b","certificatePem":"c","templateArn":"d","clientId":"e","parameters":{"SerialNumber":"0001"}}`, string(event))

	var response fleetprovtest.HookResponse
	require.NoError(t, json.Unmarshal([]byte(`{"allowProvisioning":true,"parameterOverrides":{"DeviceLocation":"Seattle"}}`), &response))
	assert.Equal(t, fleetprovtest.HookResponse{AllowProvisioning: true, ParameterOverrides: map[string]string{"DeviceLocation": "Seattle"}}, response)
}
