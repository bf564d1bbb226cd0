package iotservice_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
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
	service := iotservice.New(registry, iotservice.Settings{CA: testca.New("root"), Now: time.Now, Hook: hook})
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
	certificate, _, rejection := s.CreateFromCSR(newCSR(t))
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

func TestReuseKeys(t *testing.T) {
	keysOf := func(s *iotservice.Service) (keys []string) {
		for range 3 {
			_, key, rejection := s.CreateKeys()
			require.Nil(t, rejection)
			keys = append(keys, iotservice.KeyPEM(key))
		}
		return keys
	}
	newService := func() *iotservice.Service {
		return iotservice.New(iotregistry.New(time.Now), iotservice.Settings{CA: testca.New("root"), Now: time.Now})
	}
	end := func(s *iotservice.Service) {
		s.Stop()
		s.Wait()
	}
	first := newService()
	keys := keysOf(first)
	end(first)
	without := newService()
	for _, key := range keysOf(without) {
		assert.NotContains(t, keys, key)
	}
	end(without)

	iotservice.ReuseKeys(true)
	defer iotservice.ReuseKeys(false)
	first = newService()
	keys = keysOf(first)
	end(first)
	second, third := newService(), newService()
	again, others := keysOf(second), keysOf(third)
	assert.Subset(t, append(again, others...), keys)
	for _, key := range again {
		assert.NotContains(t, others, key, "services at work share no key")
	}
	end(second)
	end(third)
}

func TestCreateKeysAfterStop(t *testing.T) {
	service := iotservice.New(iotregistry.New(time.Now), iotservice.Settings{CA: testca.New("root"), Now: time.Now})
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
	_, _, rejection := service.CreateFromCSR("no PEM")
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
	certificate, _, rejection := service.CreateFromCSR(newCSR(t))
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

func TestTokensHaveAWSsForm(t *testing.T) {
	service, registry := start(t, nil)
	_, _, rejection := service.CreateFromCSR(newCSR(t))
	require.Nil(t, rejection)
	token := registry.Certificates()[0].Token
	assert.Len(t, token, 464)
	decoded, err := base64.StdEncoding.DecodeString(token)
	require.NoError(t, err)
	var object struct{ Version, Cipher string }
	require.NoError(t, json.Unmarshal(decoded, &object))
	assert.NotEmpty(t, object.Cipher)
}

func TestValidity(t *testing.T) {
	now := time.Now().Add(100 * 24 * time.Hour) // the clock may have been moved
	service := iotservice.New(iotregistry.New(time.Now), iotservice.Settings{
		CA: testca.New("root"), Now: func() time.Time { return now }, Validity: time.Hour,
	})
	defer service.Wait()
	defer service.Stop()
	issued, _, rejection := service.CreateFromCSR(newCSR(t))
	require.Nil(t, rejection)
	assert.WithinDuration(t, now.Add(time.Hour), issued.X509.NotAfter, time.Second)
	assert.WithinDuration(t, time.Now().Add(-2*time.Minute), issued.X509.NotBefore, time.Minute)
}

// withProvider makes a service whose certificates come from a provider.
func withProvider(t *testing.T, provider iotservice.Provider) (*iotservice.Service, *iotregistry.Registry) {
	t.Helper()
	registry := iotregistry.New(time.Now)
	service := iotservice.New(registry, iotservice.Settings{CA: testca.New("root"), Now: time.Now, Provider: provider})
	t.Cleanup(func() {
		service.Stop()
		service.Wait()
	})
	return service, registry
}

func TestCertificateProvider(t *testing.T) {
	owner := testca.New("the owner's root")
	var chain string
	service, registry := withProvider(t, func(request *x509.CertificateRequest) ([]byte, error) {
		certificate, err := owner.Issue("pump", testca.Validity{NotAfter: time.Now().Add(time.Hour)}, request.PublicKey)
		if err != nil {
			return nil, err
		}
		chain = iotservice.CertificatePEM(certificate) + iotservice.CertificatePEM(owner.Certificate())
		return []byte(chain), nil
	})
	issued, text, rejection := service.CreateFromCSR(newCSR(t))
	require.Nil(t, rejection)
	assert.Equal(t, chain, text, "the device gets what the provider has returned")
	assert.Equal(t, "pump", issued.X509.Subject.CommonName)
	assert.Equal(t, iotregistry.CertificateID(issued.X509), issued.ID)
	assert.Len(t, registry.Certificates(), 1)

	created, _, rejection := service.CreateKeys()
	require.Nil(t, rejection)
	assert.Equal(t, "AWS IoT Certificate", created.X509.Subject.CommonName, "the provider is for requests to sign only")
}

// A provider that keeps what it has signed must not give one certificate two ownership
// tokens.
func TestCertificateProviderThatRepeatsItself(t *testing.T) {
	owner := testca.New("the owner's root")
	var signed []byte
	service, registry := withProvider(t, func(request *x509.CertificateRequest) ([]byte, error) {
		if signed == nil {
			certificate, err := owner.Issue("pump", testca.Validity{}, request.PublicKey)
			if err != nil {
				return nil, err
			}
			signed = []byte(iotservice.CertificatePEM(certificate))
		}
		return signed, nil
	})
	request := newCSR(t)
	issued, _, rejection := service.CreateFromCSR(request)
	require.Nil(t, rejection)
	_, _, rejection = service.CreateFromCSR(request)
	require.NotNil(t, rejection)
	assert.Equal(t, 500, rejection.StatusCode)
	assert.ErrorContains(t, rejection.Cause, "already registered")
	assert.Equal(t, []iotregistry.Certificate{issued}, registry.Certificates())
	_, err := registry.Redeem(issued.Token)
	assert.NoError(t, err, "the first one is as it was")
}

func TestCertificateProviderThatFails(t *testing.T) {
	owner := testca.New("the owner's root")
	another := owner.Client("another", testca.Validity{}).Leaf
	returns := func(text string) iotservice.Provider {
		return func(*x509.CertificateRequest) ([]byte, error) { return []byte(text), nil }
	}
	for name, test := range map[string]struct {
		provider iotservice.Provider
		cause    string
	}{
		"with an error":              {func(*x509.CertificateRequest) ([]byte, error) { return nil, errors.New("out of order") }, "out of order"},
		"with a panic":               {func(*x509.CertificateRequest) ([]byte, error) { panic("out of order") }, "it panicked: out of order"},
		"with nothing":               {returns(""), "did not return certificates in PEM form"},
		"with text":                  {returns("certificate"), "did not return certificates in PEM form"},
		"with a key":                 {returns("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "did not return certificates in PEM form"},
		"with a broken one":          {returns("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "cannot be read"},
		"with more behind":           {returns(iotservice.CertificatePEM(another) + "more"), "did not return certificates in PEM form"},
		"with another's certificate": {returns(iotservice.CertificatePEM(another)), "for another key"},
	} {
		t.Run(name, func(t *testing.T) {
			service, registry := withProvider(t, test.provider)
			_, _, rejection := service.CreateFromCSR(newCSR(t))
			require.NotNil(t, rejection)
			assert.Equal(t, 500, rejection.StatusCode)
			assert.ErrorContains(t, rejection.Cause, test.cause)
			assert.NotContains(t, rejection.Message, "out of order")
			assert.Empty(t, registry.Certificates())
		})
	}
}
