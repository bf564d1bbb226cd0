package flow_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fleetprov/fleetprov"
	"github.com/fleetprov/fleetprov/fleetprovtest"
	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// An EEPROM that was never programmed reads as 0xff. On the way to AWS, what is not
// UTF-8 becomes something else, and different serial numbers one: nothing is made then.
func TestParametersThatAreNotUTF8(t *testing.T) {
	server := provtest.NewServer(t)
	for name, parameters := range map[string]map[string]string{
		"an empty memory":     {"SerialNumber": "\xff\xff\xff\xff"},
		"Latin-1":             {"SerialNumber": "Gr\xf6\xdfe-s3cret"},
		"half a character":    {"SerialNumber": "s3cret-\xe2\x82"},
		"a surrogate":         {"SerialNumber": "s3cret-\xed\xa0\x80"},
		"the name":            {"Serial\xffNumber": "s3cret"},
		"one of two":          {"SerialNumber": "12345", "Owner": "\xffs3cret"},
		"with another's name": {"Owner": "Größe", "Site": "\x80s3cret"},
	} {
		t.Run(name, func(t *testing.T) {
			for operation, run := range map[string]func(*fleetprov.Provisioner, *provtest.MemStore, context.Context) (*fleetprov.Credentials, error){
				"Provision": func(p *fleetprov.Provisioner, _ *provtest.MemStore, ctx context.Context) (*fleetprov.Credentials, error) {
					return p.Provision(ctx, parameters)
				},
				"Ensure": func(p *fleetprov.Provisioner, store *provtest.MemStore, ctx context.Context) (*fleetprov.Credentials, error) {
					return p.Ensure(ctx, store, parameters)
				},
				"Renew": func(p *fleetprov.Provisioner, store *provtest.MemStore, ctx context.Context) (*fleetprov.Credentials, error) {
					return p.Renew(ctx, store, parameters)
				},
			} {
				store := provtest.NewMemStore()
				credentials, err := run(provtest.NewProvisioner(t, server, noDial(t)), store, provtest.Context(t))
				assert.Nil(t, credentials, operation)
				assertOp(t, fleetprovtest.Op(fleetprov.OpPrepare), err)
				assert.False(t, fleetprov.Retryable(err))
				assert.ErrorContains(t, err, "is not UTF-8")
				assert.ErrorContains(t, err, "a memory that was not programmed")
				assert.NotContains(t, err.Error(), "s3cret")
				assert.NotContains(t, err.Error(), "\xff", "the name is quoted")
				assert.Empty(t, store.Names())
			}
		})
	}
	credentials, err := provtest.NewProvisioner(t, server).Provision(provtest.Context(t), map[string]string{"SerialNumber": "1", "Größe": "€ \x00 \ufffd"})
	assert.NoError(t, err, "these are UTF-8")
	assert.NotNil(t, credentials)
}
