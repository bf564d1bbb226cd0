package pfx

import "testing"

// maxFuzzIterations keeps the fuzzer from spending its time on deriving keys.
const maxFuzzIterations = 5000

func FuzzParse(f *testing.F) {
	for _, file := range testFiles(f) {
		f.Add(file.read(f), file.Password)
	}
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		if der, err := unwrap(data); err == nil {
			if c, err := readContainer(der); err == nil && c.iterations > maxFuzzIterations {
				return
			}
		}
		b, err := Parse(data, password)
		if err != nil {
			checkError(t, b, err)
			return
		}
		checkBundle(t, b)
	})
}

// FuzzSafes is past the MAC, which stops most of what FuzzParse tries.
func FuzzSafes(f *testing.F) {
	for _, file := range testFiles(f) {
		der, err := unwrap(file.read(f))
		if err != nil {
			continue
		}
		if c, err := readContainer(der); err == nil {
			f.Add(c.authenticated, file.Password)
		}
	}
	f.Fuzz(func(t *testing.T, authenticated []byte, password string) {
		bmp, err := bmpString(password)
		if err != nil {
			return
		}
		c := container{authenticated: authenticated}
		if err := c.readSafes(authenticated); err != nil || c.iterations > maxFuzzIterations {
			return
		}
		key, certificates, err := c.open(password, bmp)
		if err != nil {
			if key != nil || certificates != nil {
				t.Fatal("content came with an error")
			}
			return
		}
		b, err := newBundle(key, certificates)
		if err != nil {
			checkError(t, b, err)
			return
		}
		checkBundle(t, b)
	})
}
