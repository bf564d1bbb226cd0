package pfx

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// bag is a SafeBag without attributes.
type bag struct {
	id    asn1.ObjectIdentifier
	value []byte
}

// encryptedSafe is the EncryptedContentInfo of a SafeContents.
type encryptedSafe struct {
	algorithm  []byte // the AlgorithmIdentifier
	ciphertext []byte
}

var oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}

// seal makes a PKCS#12 file of bags and, if it has any content, an encrypted
// safe. Its MAC has one iteration and no salt.
func seal(bmp []byte, bags []bag, encrypted encryptedSafe) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		addContentInfo(b, oidData, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.OCTET_STRING, func(b *cryptobyte.Builder) { addBags(b, bags) })
		})
		if encrypted.algorithm != nil {
			addContentInfo(b, oidEncryptedData, func(b *cryptobyte.Builder) { encrypted.add(b) })
		}
	})
	safes, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, deriveKey(keyDerivation{digest: digests[hmacWithSHA256], iterations: 1}, forHMAC, bmp, sha256.Size))
	h.Write(safes)

	var file cryptobyte.Builder
	file.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		addContentInfo(b, oidData, func(b *cryptobyte.Builder) { b.AddASN1OctetString(safes) })
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidSHA256) })
				b.AddASN1OctetString(h.Sum(nil))
			})
			b.AddASN1OctetString(nil)
		})
	})
	return file.Bytes()
}

func addContentInfo(b *cryptobyte.Builder, id asn1.ObjectIdentifier, content cryptobyte.BuilderContinuation) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		b.AddASN1(explicit0, content)
	})
}

func addBags(b *cryptobyte.Builder, bags []bag) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, bag := range bags {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(bag.id)
				b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddBytes(bag.value) })
			})
		}
	})
}

// add writes the safe as an EncryptedData.
func (s encryptedSafe) add(b *cryptobyte.Builder) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidData)
			b.AddBytes(s.algorithm)
			b.AddASN1(tag.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(s.ciphertext) })
		})
	})
}
