package fleetprovtest

import (
	"crypto/rand"
	"crypto/rsa"
	"sync"
)

// rsaKeys are the RSA keys of the servers in this process. All servers share them, because
// making one takes a tenth of a second or more. Servers are no less distinct for it: the
// root of each has a key of its own, and each knows only the certificates that it has
// issued.
type rsaKeys struct {
	authority *rsa.PrivateKey // of the authorities that sign, but for the server's root
	server    *rsa.PrivateKey // of the server's certificate
}

var sharedKeys = sync.OnceValue(func() rsaKeys {
	var keys rsaKeys
	var making sync.WaitGroup
	for _, key := range []**rsa.PrivateKey{&keys.authority, &keys.server} {
		making.Go(func() { *key = newRSAKey() })
	}
	making.Wait()
	return keys
})

func newRSAKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("fleetprovtest: make an RSA key: " + err.Error())
	}
	return key
}
