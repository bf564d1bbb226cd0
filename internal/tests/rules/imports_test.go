package rules_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

// importRule says who may import a package. Packages of this module are named
// by their directory, and "x/..." is x with all below it.
type importRule struct {
	imported  string
	importers []string
	tests     []string // whose tests may, too
	reason    string
}

var (
	nobody   []string
	anyTests = []string{"./..."}
	provided = "internal/tests/provtest"
)

// importRules are looked through in their order, and the first that is about a
// package decides. A package's own tests may always import it.
var importRules = []importRule{
	{
		imported: provided,
		tests:    anyTests,
		reason:   "what tests share must not be linked into any program",
	},
	{
		imported: "internal/tests/...",
		reason:   "a folder of tests is run, not imported: what two of them need belongs into provtest",
	},
	{
		imported:  ".",
		importers: []string{"examples/...", provided},
		tests:     []string{"fleetprovtest", "internal/tests/..."},
		reason:    "imports run one way, examples → fleetprov → internal, and the tests below internal/tests see it from outside, as its users do; fleetprovtest repeats what AWS documents, because a shared constant would let one typo pass on both sides",
	},
	{
		imported:  "fleetprovtest",
		importers: []string{"examples/...", provided},
		tests:     anyTests,
		reason:    "the endpoint for tests must not be linked into a device's firmware",
	},
	{
		imported:  "internal/broker",
		importers: []string{"fleetprovtest"},
		tests:     anyTests,
		reason:    "the MQTT server is part of the endpoint for tests, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/testca",
		importers: []string{"fleetprovtest", "internal/iotservice"},
		tests:     anyTests,
		reason:    "the throw-away certificate authority is part of the endpoint for tests, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/iotpolicy",
		importers: []string{"fleetprovtest", "internal/iotregistry"},
		tests:     []string{"internal/tests/interop"},
		reason:    "AWS decides about policies, not the device: the evaluator is part of the endpoint for tests, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/iottemplate",
		importers: []string{"fleetprovtest", "internal/iotregistry", "internal/iotservice"},
		reason:    "AWS evaluates templates, not the device: the evaluator is part of the endpoint for tests, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/iotregistry",
		importers: []string{"fleetprovtest", "internal/controlplane", "internal/iotservice"},
		reason:    "what an account knows of its fleet is for the endpoint for tests and the operations it performs, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/iotservice",
		importers: []string{"fleetprovtest", "internal/controlplane", "internal/tests/provtest"},
		reason:    "AWS performs the operations, not the device: the service is part of the endpoint for tests, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/controlplane",
		importers: []string{"fleetprovtest"},
		reason:    "operators use the control plane, not devices: it is part of the endpoint for tests, and must not be linked into a device's firmware",
	},
	{
		imported:  "internal/pyfunction",
		importers: []string{"internal/controlplane"},
		reason:    "it runs programs that came over the network, which only a control plane for tests is asked to do",
	},
	{
		imported:  "internal/statefile",
		importers: []string{"fleetprovtest"},
		reason:    "the endpoint for tests keeps its state in such a file; a device has a Store",
	},
	{
		imported:  "internal/strictjson",
		importers: []string{"internal/iotpolicy", "internal/iottemplate"},
		reason:    "documents that people write are decoded by the packages that know what they mean; a device reads no such document",
	},
	{
		imported:  "internal/filelock",
		importers: []string{".", "internal/statefile"},
		reason:    "a lock between processes is for whoever keeps files, a device's or an endpoint's",
	},
	{
		imported:  "internal/amazonroots",
		importers: []string{"internal/diagnosis", "internal/iotendpoint"},
		tests:     []string{"internal/tests/flow"},
		reason:    "trust in an endpoint is built in one place, diagnosis tells Amazon's roots from those of a box that inspects TLS, and a test looks whether all of Amazon's roots are there",
	},
	{
		imported:  "internal/keys",
		importers: []string{".", "internal/credfile", "internal/diagnosis", "internal/exchange", "internal/pfx"},
		reason:    "keys are compared in one way wherever a key and a certificate meet, and diagnosis tells what a key said from what the network said",
	},
	{
		imported:  "internal/backoff",
		importers: []string{".", "internal/journal", "internal/link", "internal/turn"},
		reason:    "whoever waits, waits with a context, and in one way",
	},
	{
		imported:  "internal/turn",
		importers: []string{".", "internal/link"},
		reason:    "link tries a new certificate again and again under one client id, and must keep the pace of it",
	},
	{
		imported:  "internal/tlsdial",
		importers: []string{"internal/diagnosis", "internal/link", "internal/proxy"},
		reason:    "link dials with it, proxy dials the same way, and diagnosis explains its errors",
	},
	{
		imported:  "internal/proxy",
		importers: []string{".", "internal/link"},
		reason:    "the root chooses the proxy, link goes through it",
	},
	{
		imported:  "internal/mqttsession",
		importers: []string{".", "internal/diagnosis", "internal/link"},
		reason:    "link opens sessions, the root uses them, and diagnosis explains their errors",
	},
	{
		imported:  "internal/iotendpoint",
		importers: []string{".", "internal/link"},
		reason:    "an address is read once, by the root, and dialled by link",
	},
	{
		imported:  "internal/link",
		importers: []string{".", "internal/diagnosis"},
		reason:    "the root opens connections, and diagnosis explains why one was not opened",
	},
	{
		imported:  "internal/exchange",
		importers: []string{".", "internal/diagnosis"},
		reason:    "the root makes the requests, and diagnosis explains an answer that is not one",
	},
	{
		imported:  "internal/diagnosis",
		importers: []string{".", "internal/journal"},
		reason:    "the root explains the failure of a step with it, and journal tells the end of the caller's context from the end of a step",
	},
	{
		imported:  "internal/credfile",
		importers: []string{".", "internal/journal"},
		reason:    "a journal is a record in front of credentials as their file has them",
	},
	{
		imported:  "internal/pfx",
		importers: []string{"."},
		reason:    "a claim is opened in one place",
	},
	{
		imported:  "internal/...",
		importers: []string{"."},
		reason:    "an internal package is one mechanism that can be read and tested alone, and the root puts them together, but for what stands above; examples show what a user can write, and fleetprovtest must not share the client's mistakes",
	},
	{
		imported:  "examples/...",
		importers: nobody,
		reason:    "an example is a program that stands for itself",
	},
	{
		imported:  "github.com/eclipse/paho.mqtt.golang/packets",
		importers: []string{"internal/mqttsession", "internal/broker", "fleetprovtest"},
		tests:     anyTests,
		reason:    "packets are read and written in the client's guard and in the endpoint's broker, and fleetprovtest answers what the broker reads",
	},
	{
		imported:  "github.com/eclipse/paho.mqtt.golang/...",
		importers: []string{"internal/mqttsession", "examples/..."},
		tests:     anyTests,
		reason:    "paho trusts what a server sends and reconnects by itself: only internal/mqttsession, which guards it, may provision with it; an example may connect a provisioned device with it",
	},
	{
		imported:  "github.com/eclipse/paho.golang/packets",
		importers: []string{"internal/broker"},
		tests:     anyTests,
		reason:    "the broker speaks MQTT 5 besides 3.1.1, and hands packets of 3.1.1 on",
	},
	{
		imported:  "github.com/eclipse/paho.golang/...",
		importers: []string{"examples/firmware5"},
		tests:     anyTests,
		reason:    "a device provisions over MQTT 3.1.1; an example may connect a provisioned device over MQTT 5",
	},
	{
		imported:  "software.sslmate.com/src/go-pkcs12/...",
		importers: []string{"internal/pfx", "fleetprovtest"},
		tests:     anyTests,
		reason:    "internal/pfx bounds and checks a PFX before the decoder sees it; fleetprovtest only encodes",
	},
	{
		imported:  "github.com/fxamacker/cbor/v2/...",
		importers: []string{"fleetprovtest"},
		tests:     anyTests,
		reason:    "its initialisation is linked into every program that imports it, and a device pays for no CBOR that it does not use: internal/exchange has its own",
	},
	{
		imported:  "golang.org/x/net/...",
		importers: []string{"internal/proxy"},
		reason:    "internal/proxy puts a context and a bound around what a proxy says",
	},
	{
		imported:  "github.com/gofrs/flock/...",
		importers: []string{"internal/filelock"},
		reason:    "internal/filelock gives a lock a context, and knows how each system keeps one",
	},
	{
		imported:  "golang.org/x/crypto/cryptobyte/...",
		importers: []string{"internal/pfx"},
		tests:     anyTests,
		reason:    "DER by hand is read in internal/pfx only",
	},
	{
		imported:  "github.com/stretchr/testify/...",
		importers: []string{provided},
		tests:     anyTests,
		reason:    "testify is for tests, and must not be linked into a program",
	},
	{
		imported:  "testing/...",
		importers: []string{provided},
		tests:     anyTests,
		reason:    "package testing brings its flags into every program that links it; fleetprovtest is used outside of tests, too",
	},
	{
		imported:  "github.com/aws/...",
		importers: nobody,
		reason:    "the exchange is MQTT with a certificate and needs nothing of the AWS SDK",
	},
}

func TestImportsKeepToTheirRooms(t *testing.T) {
	found := findImports(t)
	require.Contains(t, found, foundImport{".", "internal/mqttsession", false}, "imports are found at all")
	require.Contains(t, found, foundImport{".", "github.com/stretchr/testify/require", true}, "imports of tests are found at all")
	for _, i := range found {
		assert.NoError(t, i.check())
	}
}

// operatorImports are the packages of this module that the one below operator may import, the
// last of them in its tests. It judges as the endpoint for tests does, with the same packages,
// and makes the claims that a device opens.
var operatorImports = []string{
	".", "examples/aws", "internal/amazonroots", "internal/iotpolicy", "internal/iottemplate", "internal/pfx", "fleetprovtest",
}

func TestOperatorImportsLittleOfThisModule(t *testing.T) {
	used := make(map[string]bool)
	for _, i := range importsBelow(t, provtest.Root(t, "operator")) {
		first, _, _ := strings.Cut(i.imported, "/")
		if strings.Contains(first, ".") && first != "." || i.imported == "operator" {
			continue
		}
		if _, err := os.Stat(provtest.Root(t, i.imported)); err != nil {
			continue // the standard library's
		}
		used[i.imported] = true
		assert.Contains(t, operatorImports, i.imported, "%s", i)
		assert.True(t, i.test || i.imported != "fleetprovtest", "%s: it must not be linked into the command", i)
	}
	assert.Len(t, used, len(operatorImports), "%v", used)
}

// What is not a test could be linked into a program.
func TestFoldersOfTestsHoldNothingElse(t *testing.T) {
	var tests int
	for _, i := range findImports(t) {
		if !matchesImport("internal/tests/...", i.importer) || i.importer == provided {
			continue
		}
		assert.True(t, i.test, "%s has a file that is not a test: what tests share belongs into %s", i.importer, provided)
		tests++
	}
	assert.NotZero(t, tests)
}

func TestLibraryLinksNothingOfTheTests(t *testing.T) {
	output, err := exec.Command("go", "list", "-deps", provtest.ModulePath).Output()
	require.NoError(t, err)
	linked := strings.Fields(string(output))
	require.Contains(t, linked, provtest.ModulePath+"/internal/mqttsession")
	for _, unwanted := range []string{
		provtest.ModulePath + "/fleetprovtest",
		provtest.ModulePath + "/examples/...",
		provtest.ModulePath + "/internal/broker",
		provtest.ModulePath + "/internal/controlplane",
		provtest.ModulePath + "/internal/iotpolicy",
		provtest.ModulePath + "/internal/iotregistry",
		provtest.ModulePath + "/internal/iotservice",
		provtest.ModulePath + "/internal/iottemplate",
		provtest.ModulePath + "/internal/pyfunction",
		provtest.ModulePath + "/internal/statefile",
		provtest.ModulePath + "/internal/strictjson",
		provtest.ModulePath + "/internal/testca",
		provtest.ModulePath + "/internal/tests/...",
		"github.com/aws/...",
		"github.com/eclipse/paho.golang/...",
		"github.com/fxamacker/cbor/...",
		"github.com/stretchr/testify/...",
		"testing/...",
	} {
		for _, p := range linked {
			assert.False(t, matchesImport(unwanted, p), "a program that uses the library links %s", p)
		}
	}
}

// foundImport is one import of a package of this module.
type foundImport struct {
	importer, imported string
	test               bool
}

// check fails with the reason for the rule that the import breaks.
func (i foundImport) check() error {
	if i.test && i.importer == i.imported {
		return nil
	}
	for _, rule := range importRules {
		if !matchesImport(rule.imported, i.imported) {
			continue
		}
		allowed := func(pattern string) bool { return matchesImport(pattern, i.importer) }
		if slices.ContainsFunc(rule.importers, allowed) || i.test && slices.ContainsFunc(rule.tests, allowed) {
			return nil
		}
		return fmt.Errorf("%s: %s", i, rule.reason)
	}
	if first, _, _ := strings.Cut(i.imported, "/"); strings.Contains(first, ".") {
		return fmt.Errorf("%s: a library has one importing package, which importRules names with the reason for it", i)
	}
	return nil
}

func (i foundImport) String() string {
	if i.test {
		return fmt.Sprintf("a test of %s imports %s", i.importer, i.imported)
	}
	return fmt.Sprintf("%s imports %s", i.importer, i.imported)
}

func matchesImport(pattern, imported string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return imported == base || below && (base == "." || strings.HasPrefix(imported, base+"/"))
}

// findImports reads every Go file of this module, those for other systems too.
func findImports(t *testing.T) []foundImport { return importsBelow(t, provtest.Root(t)) }

// importsBelow reads those of the module whose directory it is given.
func importsBelow(t *testing.T, module string) []foundImport {
	t.Helper()
	var found []foundImport
	root := provtest.Root(t)
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != module && (isPassedOver(entry.Name()) || isModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		source, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range source.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if imported == provtest.ModulePath {
				imported = "."
			}
			found = append(found, foundImport{
				importer: filepath.ToSlash(filepath.Dir(file)),
				imported: strings.TrimPrefix(imported, provtest.ModulePath+"/"),
				test:     strings.HasSuffix(file, "_test.go"),
			})
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

// isPassedOver reports whether the go command passes over a folder of that name.
func isPassedOver(name string) bool {
	return name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

// isModule reports whether a folder is a module of its own, which has other rules: the
// examples for hardware import what the library must not.
func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}
