package tokenkeys

import (
	"crypto/rand"
	"fmt"
	"io/fs"

	"github.com/miekg/pkcs11"
)

// find returns the objects that have these attributes.
func (s *session) find(attributes ...*pkcs11.Attribute) (found []pkcs11.ObjectHandle, err error) {
	if err := s.library.FindObjectsInit(s.handle, attributes); err != nil {
		return nil, fmt.Errorf("looking for a key: %w", err)
	}
	defer s.library.FindObjectsFinal(s.handle)
	for {
		some, _, err := s.library.FindObjects(s.handle, 16)
		if err != nil {
			return nil, fmt.Errorf("looking for a key: %w", err)
		}
		if len(some) == 0 {
			return found, nil
		}
		found = append(found, some...)
	}
}

// attribute reads one attribute of an object.
func (s *session) attribute(object pkcs11.ObjectHandle, attribute uint) ([]byte, error) {
	read, err := s.library.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil {
		return nil, fmt.Errorf("reading a key's attribute %#x: %w", attribute, err)
	}
	return read[0].Value, nil
}

func classOf(class uint) *pkcs11.Attribute { return pkcs11.NewAttribute(pkcs11.CKA_CLASS, class) }
func labelled(label string) *pkcs11.Attribute {
	return pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)
}

// destroy destroys the keys under label, and what an earlier call has left of one. The
// private half goes first: without it there is no key.
func (s *session) destroy(label string) error {
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		objects, err := s.find(classOf(class), labelled(label))
		if err != nil {
			return err
		}
		for _, object := range objects {
			if err := s.library.DestroyObject(s.handle, object); err != nil {
				return fmt.Errorf("destroying the key that is there: %w", err)
			}
		}
	}
	return nil
}

// generate makes a key pair that signs and does not leave the token. The id that both
// halves share is a new one, so that no half is taken for that of another pair.
func (s *session) generate(label string, algorithm Algorithm) (*signer, error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	both := []*pkcs11.Attribute{
		labelled(label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
	public := append(both[:len(both):len(both)], pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true))
	private := append(both[:len(both):len(both)],
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true))
	mechanism := uint(pkcs11.CKM_EC_KEY_PAIR_GEN)
	if algorithm == RSA2048 {
		mechanism = pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN
		public = append(public,
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	} else {
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256))
	}
	object, _, err := s.library.GenerateKeyPair(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, public, private)
	if err != nil {
		return nil, err
	}
	return s.signer(label, id, object)
}

// key finds a key pair.
func (s *session) key(label string) (*signer, error) {
	private, err := s.private(label)
	if err != nil {
		return nil, err
	}
	id, err := s.attribute(private, pkcs11.CKA_ID)
	if err != nil {
		return nil, err
	}
	public, err := s.find(classOf(pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, id), labelled(label))
	switch {
	case err != nil:
		return nil, err
	case len(public) == 0:
		return nil, fmt.Errorf("its public half is not in the token: %w", fs.ErrNotExist)
	default:
		return s.signer(label, id, public[0])
	}
}

// private finds the private half of a key pair.
func (s *session) private(label string, more ...*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	found, err := s.find(append(more, classOf(pkcs11.CKO_PRIVATE_KEY), labelled(label))...)
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, fmt.Errorf("it is not in the token: %w", fs.ErrNotExist)
	case len(found) > 1:
		return 0, fmt.Errorf("there are %d keys of that label: delete all but the right one", len(found))
	default:
		return found[0], nil
	}
}

func (s *session) signer(label string, id []byte, public pkcs11.ObjectHandle) (*signer, error) {
	key, err := s.publicKey(public)
	if err != nil {
		return nil, err
	}
	return &signer{label: label, id: id, public: key}, nil
}
