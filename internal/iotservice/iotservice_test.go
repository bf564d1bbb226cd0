package iotservice_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/iotregistry"
	"github.com/fleetprov/fleetprov/internal/iotservice"
	"github.com/fleetprov/fleetprov/internal/testca"
)

// start makes a service with a template, fleet, that names a thing after the parameter
// ThingName. The service ends with the test.
func start(t *testing.T, hook iotservice.Hook) (*iotservice.Service, *iotregistry.Registry) {
	t.Helper()
	registry := iotregistry.New(time.Now)
	require.NoError(t, registry.AddTemplate("fleet", `{
		"Parameters": {"ThingName": {"Type": "String"}},
		"Resources": {
			"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "ThingName"}}},
			"certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}}},
		"DeviceConfiguration": {"id": {"Ref": "AWS::IoT::Certificate::Id"}}}`))
	service := iotservice.New(registry, testca.New("root"), hook, nil)
	t.Cleanup(func() {
		service.Stop()
		service.Wait()
	})
	return service, registry
}

func newCSR(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// register creates a certificate and registers it as the thing a.
func register(t *testing.T, s *iotservice.Service) (iotservice.Registered, *iotservice.Rejection) {
	t.Helper()
	certificate, rejection := s.CreateFromCSR(newCSR(t))
	require.Nil(t, rejection)
	template, rejection := s.Template("fleet")
	require.Nil(t, rejection)
	caller := iotservice.Caller{ClaimCertificateID: "c1a1", ClientID: "device"}
	return s.Register(caller, template, certificate.Token, map[string]string{"ThingName": "a"})
}

func TestCreateKeys(t *testing.T) {
	service, registry := start(t, nil)
	service.PrepareKey()
	certificate, key, rejection := service.CreateKeys()
	require.Nil(t, rejection)
	pair, err := tls.X509KeyPair([]byte(iotservice.CertificatePEM(certificate.X509)), []byte(iotservice.KeyPEM(key)))
	require.NoError(t, err)
	assert.Equal(t, "AWS IoT Certificate", pair.Leaf.Subject.CommonName)
	assert.Equal(t, []iotregistry.Certificate{certificate}, registry.Certificates())

	_, other, rejection := service.CreateKeys()
	require.Nil(t, rejection)
	assert.False(t, key.Equal(other), "a key is handed out once")
}

func TestCreateKeysAfterStop(t *testing.T) {
	service := iotservice.New(iotregistry.New(time.Now), testca.New("root"), nil, nil)
	service.Stop()
	for range 4 { // a key may still be there
		if _, _, rejection := service.CreateKeys(); rejection != nil {
			assert.Equal(t, 500, rejection.StatusCode)
			service.Wait()
			return
		}
	}
	assert.Fail(t, "the service still makes keys")
}

func TestCreateFromCSRRefuses(t *testing.T) {
	service, registry := start(t, nil)
	_, rejection := service.CreateFromCSR("no PEM")
	require.NotNil(t, rejection)
	assert.Equal(t, 400, rejection.StatusCode)
	assert.Equal(t, "InvalidCertificateSigningRequest", rejection.Code)
	assert.Empty(t, registry.Certificates())
}

func TestRegister(t *testing.T) {
	service, registry := start(t, nil)
	done, rejection := register(t, service)
	require.Nil(t, rejection)
	assert.Equal(t, "a", done.ThingName)
	require.Len(t, registry.Things(), 1)
	assert.Equal(t, map[string]string{"ThingName": "a"}, registry.Things()[0].Parameters)
	assert.Equal(t, map[string]string{"id": registry.Certificates()[0].ID}, done.Configuration)

	_, rejection = service.Template("unknown")
	require.NotNil(t, rejection)
	assert.Equal(t, 404, rejection.StatusCode)
	template, rejection := service.Template("fleet")
	require.Nil(t, rejection)
	_, rejection = service.Register(iotservice.Caller{}, template, "unknown", nil)
	require.NotNil(t, rejection)
	assert.Equal(t, "InvalidCertificateOwnershipToken", rejection.Code)
}

func TestDeviceCannotSetItsCertificateID(t *testing.T) {
	service, registry := start(t, nil)
	certificate, rejection := service.CreateFromCSR(newCSR(t))
	require.Nil(t, rejection)
	template, rejection := service.Template("fleet")
	require.Nil(t, rejection)
	done, rejection := service.Register(iotservice.Caller{}, template, certificate.Token,
		map[string]string{"ThingName": "a", "AWS::IoT::Certificate::Id": "forged"})
	require.Nil(t, rejection)
	assert.Equal(t, registry.Certificates()[0].ID, done.Configuration["id"])
}

func TestHook(t *testing.T) {
	allow := iotservice.HookResponse{AllowProvisioning: true}
	for _, test := range []struct {
		name  string
		hook  iotservice.Hook
		cause string // "": allowed
		takes time.Duration
	}{
		{"that allows", func(iotservice.HookRequest) iotservice.HookResponse { return allow }, "", 0},
		{"that refuses", func(iotservice.HookRequest) iotservice.HookResponse { return iotservice.HookResponse{} }, "it refused", 0},
		{"that panics", func(iotservice.HookRequest) iotservice.HookResponse { panic("out of order") }, "it panicked: out of order", 0},
		{"that ends its goroutine", func(iotservice.HookRequest) iotservice.HookResponse { runtime.Goexit(); return allow }, "it did not return", 0},
		{"that is slow", func(iotservice.HookRequest) iotservice.HookResponse { <-time.After(4 * time.Second); return allow }, "", 4 * time.Second},
		{"that is too slow", func(iotservice.HookRequest) iotservice.HookResponse { <-time.After(6 * time.Second); return allow },
			"it took longer than five seconds", 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service, registry := start(t, test.hook)
				begin := time.Now()
				_, rejection := register(t, service)
				assert.Equal(t, test.takes, time.Since(begin))
				if test.cause == "" {
					assert.Nil(t, rejection)
					return
				}
				require.NotNil(t, rejection)
				assert.Equal(t, 403, rejection.StatusCode)
				assert.EqualError(t, rejection.Cause, test.cause)
				assert.Empty(t, registry.Things())
			})
		})
	}
}

func TestHookSeesAndChangesParameters(t *testing.T) {
	var seen iotservice.HookRequest
	service, registry := start(t, func(r iotservice.HookRequest) iotservice.HookResponse {
		seen = r
		r.Parameters["ThingName"] = "its own copy"
		return iotservice.HookResponse{AllowProvisioning: true, ParameterOverrides: map[string]string{"Site": "1"}}
	})
	done, rejection := register(t, service)
	require.Nil(t, rejection)
	assert.Equal(t, "a", done.ThingName)
	assert.Equal(t, map[string]string{"ThingName": "a", "Site": "1"}, registry.Things()[0].Parameters)
	assert.Equal(t, "c1a1", seen.ClaimCertificateID)
	assert.Equal(t, "device", seen.ClientID)
	assert.Equal(t, "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/fleet", seen.TemplateARN)
	assert.Equal(t, registry.Certificates()[0].ID, seen.CertificateID)
	assert.Equal(t, iotservice.CertificatePEM(registry.Certificates()[0].X509), seen.CertificatePEM)
}
