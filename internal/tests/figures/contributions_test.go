package figures_test

import (
	"cmp"
	"debug/elf"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// contribution is what a package adds to a firmware, in bytes.
type contribution struct {
	name string
	size float64
}

const (
	otherPackages = "all others"
	tables        = "tables of the linker" // of all functions, types and constants
	largest       = 10
)

// BenchmarkContributions reports what the packages with the most machine code and data
// add to the firmware on amd64, in kB, then all others, and the tables that the linker
// makes.
func BenchmarkContributions(b *testing.B) {
	var found []contribution
	for b.Loop() {
		found = contributions(b)
	}
	for _, c := range found {
		b.Run(c.name, func(b *testing.B) {
			b.ReportMetric(c.size/1e3, "kB")
			b.ReportMetric(0, "ns/op") // nothing is timed
		})
	}
}

// contributions reads the symbols of the firmware, and sorts them by package. Together
// they are the stripped file.
func contributions(t testing.TB) []contribution {
	t.Helper()
	file, err := elf.Open(buildProgram(t, "firmware", nil, "GOOS=linux", "GOARCH=amd64"))
	require.NoError(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	require.NoError(t, err)
	sizes := map[string]float64{}
	for _, s := range symbols {
		if int(s.Section) >= len(file.Sections) || !slices.Contains([]string{".text", ".rodata", ".noptrdata", ".data"}, file.Sections[s.Section].Name) {
			continue // what the linker makes, or is no part of the file
		}
		if name := packageOf(s.Name); name != "" {
			sizes[name] += float64(s.Size)
		}
	}
	var all []contribution
	rest := 1e6 * sizeOf(t, "firmware", nil, "GOARCH=amd64")
	for name, size := range sizes {
		all = append(all, contribution{name, size})
		rest -= size
	}
	slices.SortFunc(all, func(a, b contribution) int {
		return cmp.Or(cmp.Compare(b.size, a.size), strings.Compare(a.name, b.name))
	})
	others := contribution{name: otherPackages}
	for _, c := range all[largest:] {
		others.size += c.size
	}
	return append(all[:largest:largest], others, contribution{tables, rest})
}

// packageOf returns the package of a symbol, or nothing for one that the linker makes.
func packageOf(symbol string) string {
	symbol, _, _ = strings.Cut(symbol, "[") // type arguments have paths of their own
	folder := strings.LastIndex(symbol, "/") + 1
	last, _, found := strings.Cut(symbol[folder:], ".")
	if !found || strings.Contains(symbol, ":") {
		return ""
	}
	name, err := url.PathUnescape(symbol[:folder] + last) // dots of the last element
	if err != nil {
		return symbol[:folder] + last
	}
	return name
}
