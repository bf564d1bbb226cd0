package pfx

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

// sequence is the first byte of every PKCS#12 file, DER or BER.
const sequence = 0x30

// unwrap takes the PKCS#12 structure out of data, as DER: out of its PEM armour
// if it has one, and without the bytes that follow it.
func unwrap(data []byte) (der []byte, armored bool, err error) {
	if len(data) == 0 {
		return nil, false, errors.New("the file is empty")
	}
	if len(data) > maxFile {
		return nil, false, fmt.Errorf("the file has %d bytes, more than the %d that a PKCS#12 file may have", len(data), maxFile)
	}
	if data[0] != sequence {
		block, _ := pem.Decode(bytes.TrimPrefix(data, []byte("\ufeff"))) // Windows editors put it there
		if block == nil {
			return nil, false, errors.New(describe(data))
		}
		if err := checkArmor(block.Type); err != nil {
			return nil, false, err
		}
		data, armored = block.Bytes, true
	}
	der, ok := toDER(data)
	if !ok || der[0] != sequence {
		return nil, false, errors.New("not a PKCS#12 file, or one that is damaged or cut short")
	}
	return der, armored, nil
}
