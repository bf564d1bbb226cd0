package fleetprov_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/fleetprov/fleetprov"
)

// sealedTable is a Store in a table of a database, here a map. What it keeps is
// encrypted, under the name it is kept by.
type sealedTable struct {
	rows sync.Map
	aead cipher.AEAD
}

func (s *sealedTable) Get(_ context.Context, name string) ([]byte, error) {
	row, ok := s.rows.Load(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	return s.aead.Open(nil, nil, row.([]byte), []byte(name))
}

func (s *sealedTable) Put(_ context.Context, name string, data []byte) error {
	s.rows.Store(name, s.aead.Seal(nil, nil, data, []byte(name))) // a database commits before Put returns
	return nil
}

func (s *sealedTable) Delete(_ context.Context, name string) error {
	s.rows.Delete(name)
	return nil
}

// A Store is three methods. This one seals all it is given into a database.
func ExampleStore() {
	var store fleetprov.Store = &sealedTable{aead: deviceAEAD()}

	ctx := context.Background()
	if err := store.Put(ctx, "credentials.pem", []byte("a private key")); err != nil {
		log.Fatal(err)
	}
	data, err := store.Get(ctx, "credentials.pem")
	fmt.Printf("%s %v\n", data, err)
	// Output: a private key <nil>
}

// sealedDir is a DirStore whose files are encrypted. It locks as a DirStore does.
type sealedDir struct {
	fleetprov.DirStore
	aead cipher.AEAD
}

func (s sealedDir) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.DirStore.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.aead.Open(nil, nil, data, []byte(name))
}

func (s sealedDir) Put(ctx context.Context, name string, data []byte) error {
	return s.DirStore.Put(ctx, name, s.aead.Seal(nil, nil, data, []byte(name)))
}

// Files that are encrypted under a key of the device are a DirStore with two
// methods of one's own.
func ExampleDirStore() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store := sealedDir{fleetprov.DirStore(dir), deviceAEAD()}

	ctx := context.Background()
	if err := store.Put(ctx, "credentials.pem", []byte("a private key")); err != nil {
		log.Fatal(err)
	}
	data, err := store.Get(ctx, "credentials.pem")
	fmt.Printf("%s %v\n", data, err)

	onDisk, err := os.ReadFile(filepath.Join(dir, "credentials.pem"))
	fmt.Println(bytes.Contains(onDisk, []byte("key")), err)
	// Output:
	// a private key <nil>
	// false <nil>
}

// deviceAEAD encrypts under a key of the device, which a TPM or a secure element
// keeps, or derives; here it is a random one.
func deviceAEAD() cipher.AEAD {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		log.Fatal(err)
	}
	return aead
}
