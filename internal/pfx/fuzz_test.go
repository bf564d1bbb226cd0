package pfx

import "testing"

// maxFuzzWork keeps the fuzzer from spending its time on deriving keys.
const maxFuzzWork = 20_000

func FuzzParse(f *testing.F) {
	for _, file := range testFiles(f) {
		f.Add(file.read(f), file.Password)
	}
	for _, name := range []string{"bouncycastle.bcfks", "bouncycastle.bks", "bouncycastle.uber"} {
		f.Add(testFile{File: name}.read(f), "secret1")
	}
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		b, err := parse(data, password, maxFuzzWork)
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
		der, _, err := unwrap(file.read(f))
		if err != nil {
			continue
		}
		if c, err := readContainer(der); err == nil {
			f.Add(c.authenticated, file.Password)
		}
	}
	f.Fuzz(func(t *testing.T, authenticated []byte, password string) {
		c := container{passphrases: passphrases(password), work: work{maxFuzzWork}}
		fuzzOpen(t, &c, c.readSafes(authenticated))
	})
}

func fuzzOpen(t *testing.T, c *container, err error) {
	if err == nil {
		err = c.check()
	}
	if err != nil {
		checkError(t, nil, err)
		return
	}
	b, err := c.open()
	if err != nil {
		checkError(t, b, err)
		return
	}
	checkBundle(t, b)
}

// FuzzSafeContents is past the encryption too.
func FuzzSafeContents(f *testing.F) {
	for _, file := range testFiles(f) {
		der, _, err := unwrap(file.read(f))
		if err != nil {
			continue
		}
		c, err := readContainer(der)
		if err != nil {
			continue
		}
		c.passphrases, c.work.left = passphrases(file.Password), maxFuzzWork
		if c.check() != nil {
			continue
		}
		for i := range c.encrypted {
			if contents, ok, err := c.decrypt(&c.encrypted[i]); ok && err == nil {
				f.Add(contents, file.Password)
			}
		}
	}
	f.Fuzz(func(t *testing.T, contents []byte, password string) {
		c := container{passphrases: passphrases(password), work: work{maxFuzzWork}}
		fuzzOpen(t, &c, c.readSafeContents(contents, "safe"))
	})
}
