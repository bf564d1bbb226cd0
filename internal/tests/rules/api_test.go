package rules_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetprov/fleetprov/internal/tests/provtest"
)

var update = flag.Bool("update", false, "write what is checked anew: api.txt, and the graph in docs/architecture.md")

// A change of the public API shows in a change of api.txt.
func TestAPIIsThatOfItsListing(t *testing.T) {
	file := provtest.Root(t, "api.txt")
	listing := strings.Join(apiOf(t, provtest.ModulePath, provtest.ModulePath+"/fleetprovtest"), "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(listing), 0o644))
	}
	listed, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, strings.ReplaceAll(string(listed), "\r\n", "\n"), listing, "if the change is meant: go test ./internal/tests/rules -run API -update")
}

// What can be written in Go can be listed, whether this module has it or not.
func TestAPIListsEveryKindOfItem(t *testing.T) {
	const source = `package p

import "io"

const (
	Zero Number = iota
	One
	hidden
)

const Text = "words"

var ErrNone, other error

type Number int

func (Number) String() string { return "" }
func (n *Number) Add(more ...int) (sum Number, err error) { return }
func (Number) secret() {}

type Pair[K comparable, V any] struct {
	Key     K
	Value   V ` + "`json:\"value\"`" + `
	private bool
	io.Reader
}

func (p *Pair[K, V]) Swap(with Pair[K, V]) {}

type embedded struct{ Inside string }
func (*embedded) Promoted(name string) {}

type Outer struct{ *embedded }

type Hook func(name string, _ io.Writer) (ok bool)

type Both interface {
	io.Closer
	Do(what string) error
	quiet()
}

type Same = Outer

func Make[T any](from map[string][]T, to chan<- T) (*Pair[string, T], error) { return nil, nil }

func unseen() {}
`
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, "p.go", source, 0)
	require.NoError(t, err)
	pkg, err := (&types.Config{Importer: exportsOf(t, fset, "io")}).Check("example.com/p", fset, []*ast.File{parsed}, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{
		`p const One Number = 1`,
		`p const Text untyped string = "words"`,
		`p const Zero Number = 0`,
		`p field Outer.Inside string`,
		`p field Pair.Key K`,
		`p field Pair.Reader io.Reader, embedded`,
		"p field Pair.Value V `json:\"value\"`",
		`p func Make[T any](from map[string][]T, to chan<- T) (*Pair[string, T], error)`,
		`p method (*Number) Add(more ...int) (sum Number, err error)`,
		`p method (*Pair) Swap(with Pair[K, V])`,
		`p method (Both) Close() error`,
		`p method (Both) Do(what string) error`,
		`p method (Number) String() string`,
		`p method (Outer) Promoted(name string)`,
		`p method (Pair) Read(p []byte) (n int, err error)`,
		`p type Both interface, with methods of its own package only`,
		`p type Hook func(name string, _ io.Writer) (ok bool)`,
		`p type Number int`,
		`p type Outer struct, with fields that are not exported`,
		`p type Pair[K comparable, V any] struct, with fields that are not exported`,
		`p type Same = Outer`,
		`p var ErrNone error`,
	}, itemsOf(pkg))
}

// apiOf lists what packages export, an item a line, sorted.
func apiOf(t *testing.T, paths ...string) (items []string) {
	t.Helper()
	fset := token.NewFileSet()
	imports := exportsOf(t, fset, paths...)
	for _, path := range paths {
		output, err := exec.Command("go", "list", "-json=Dir,GoFiles", path).Output()
		require.NoError(t, err)
		var listed struct {
			Dir     string
			GoFiles []string
		}
		require.NoError(t, json.Unmarshal(output, &listed))
		var files []*ast.File
		for _, name := range listed.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(listed.Dir, name), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, file)
		}
		pkg, err := (&types.Config{Importer: imports}).Check(path, fset, files, nil)
		require.NoError(t, err)
		items = append(items, itemsOf(pkg)...)
	}
	return items
}

// exportsOf imports whatever these packages import, from what the go command has
// compiled.
func exportsOf(t *testing.T, fset *token.FileSet, paths ...string) types.Importer {
	t.Helper()
	output, err := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, paths...)...).Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var listed struct{ ImportPath, Export string }
		err := decoder.Decode(&listed)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		exports[listed.ImportPath] = listed.Export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
}

// itemsOf lists what one package exports.
func itemsOf(pkg *types.Package) (items []string) {
	l := apiLister{pkg: pkg}
	for _, name := range pkg.Scope().Names() {
		if object := pkg.Scope().Lookup(name); object.Exported() {
			l.list(object)
		}
	}
	slices.Sort(l.items)
	return l.items
}

// apiLister collects the items of one package.
type apiLister struct {
	pkg   *types.Package
	items []string
}

func (l *apiLister) add(format string, arguments ...any) {
	l.items = append(l.items, l.pkg.Name()+" "+fmt.Sprintf(format, arguments...))
}

// name is how the package itself would write a type.
func (l *apiLister) name(t types.Type) string {
	return types.TypeString(t, func(other *types.Package) string {
		if other == l.pkg {
			return ""
		}
		return other.Name()
	})
}

// signature is the parameters and results of a function.
func (l *apiLister) signature(f types.Object) string {
	return strings.TrimPrefix(l.name(f.Type()), "func")
}

func (l *apiLister) list(object types.Object) {
	switch object := object.(type) {
	case *types.Const:
		l.add("const %s %s = %s", object.Name(), l.name(object.Type()), object.Val().ExactString())
	case *types.Var:
		l.add("var %s %s", object.Name(), l.name(object.Type()))
	case *types.Func:
		l.add("func %s%s", object.Name(), l.signature(object))
	case *types.TypeName:
		l.listType(object)
	}
}

func (l *apiLister) listType(object *types.TypeName) {
	if object.IsAlias() {
		l.add("type %s = %s", object.Name(), l.name(types.Unalias(object.Type())))
		return
	}
	named := object.Type().(*types.Named)
	switch under := named.Underlying().(type) {
	case *types.Struct:
		l.add("type %s struct%s", l.declared(named), l.fields(named.Obj().Name(), under))
		l.methods(named)
	case *types.Interface:
		l.add("type %s interface%s", l.declared(named), l.interfaceMethods(named, under))
	default:
		l.add("type %s %s", l.declared(named), l.name(under))
		l.methods(named)
	}
}

// declared is the name of a type with its parameters and their constraints.
func (l *apiLister) declared(named *types.Named) string {
	var parameters []string
	for parameter := range named.TypeParams().TypeParams() {
		parameters = append(parameters, parameter.Obj().Name()+" "+l.name(parameter.Constraint()))
	}
	if parameters == nil {
		return named.Obj().Name()
	}
	return named.Obj().Name() + "[" + strings.Join(parameters, ", ") + "]"
}

// fields lists the fields of a struct that can be named, and tells of the others.
func (l *apiLister) fields(owner string, s *types.Struct) (note string) {
	for i := range s.NumFields() {
		field, tag := s.Field(i), s.Tag(i)
		if tag != "" {
			tag = " `" + tag + "`"
		}
		switch {
		case field.Exported() && field.Embedded():
			l.add("field %s.%s %s, embedded%s", owner, field.Name(), l.name(field.Type()), tag)
		case field.Exported():
			l.add("field %s.%s %s%s", owner, field.Name(), l.name(field.Type()), tag)
		default:
			note = ", with fields that are not exported"
			if inside, ok := structBehind(field); ok {
				l.fields(owner, inside) // what is promoted
			}
		}
	}
	return note
}

// structBehind is the struct that an embedded field is, or points to.
func structBehind(field *types.Var) (*types.Struct, bool) {
	if !field.Embedded() {
		return nil, false
	}
	behind := field.Type()
	if pointer, ok := behind.(*types.Pointer); ok {
		behind = pointer.Elem()
	}
	s, ok := behind.Underlying().(*types.Struct)
	return s, ok
}

// methods lists what can be called on a value, or on a pointer to one.
func (l *apiLister) methods(named *types.Named) {
	onValues := types.NewMethodSet(named)
	for method := range types.NewMethodSet(types.NewPointer(named)).Methods() {
		if !method.Obj().Exported() {
			continue
		}
		receiver := named.Obj().Name()
		if onValues.Lookup(l.pkg, method.Obj().Name()) == nil {
			receiver = "*" + receiver
		}
		l.add("method (%s) %s%s", receiver, method.Obj().Name(), l.signature(method.Obj()))
	}
}

// interfaceMethods lists the methods of an interface, those it embeds too.
func (l *apiLister) interfaceMethods(named *types.Named, i *types.Interface) (note string) {
	for method := range i.Methods() {
		if method.Exported() {
			l.add("method (%s) %s%s", named.Obj().Name(), method.Name(), l.signature(method))
		} else {
			note = ", with methods of its own package only"
		}
	}
	return note
}
