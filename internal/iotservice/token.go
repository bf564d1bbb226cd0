package iotservice

import (
	"crypto/rand"
	"encoding/base64"
)

// secretBytes make a token 464 characters long, as those of AWS IoT were seen to be.
const secretBytes = 234

// newToken returns an ownership token as AWS IoT makes them: a JSON object in base64. What
// is in the object is a secret of AWS's, and a random one here.
func newToken() string {
	var secret [secretBytes]byte
	rand.Read(secret[:])
	object := `{"version":"20191010","cipher":"` + base64.StdEncoding.EncodeToString(secret[:]) + `"}`
	return base64.StdEncoding.EncodeToString([]byte(object))
}
